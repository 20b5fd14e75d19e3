// SPDX-License-Identifier: Apache-2.0

// Command demo matches labels, then backs up the demo cluster into a map: the store and the hooks'
// guest are written in Go.
//
//	demo CLUSTER-DIR
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"example.org/vmbackup/vmbackup"
)

type mapStore struct {
	mu      sync.Mutex
	objects map[string][]byte
}

func (s *mapStore) Put(key string, data []byte, ifAbsent bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.objects[key]; ok && ifAbsent {
		return &vmbackup.Error{Code: vmbackup.ErrExists, Message: key + " exists"}
	}
	s.objects[key] = data
	return nil
}

func (s *mapStore) Get(key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	data, ok := s.objects[key]
	if !ok {
		return nil, &vmbackup.Error{Code: vmbackup.ErrNotFound, Message: "there is no " + key}
	}
	return data, nil
}

func (s *mapStore) List(prefix string) (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[string]int64{}
	for key, data := range s.objects {
		if strings.HasPrefix(key, prefix) {
			found[key] = int64(len(data))
		}
	}
	return found, nil
}

func (s *mapStore) Remove(key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, key)
	return nil
}

type guest struct{ commands [][]string }

func (g *guest) Run(namespace, pod, container string, command []string) (int, []byte, []byte, error) {
	g.commands = append(g.commands, command)
	return 0, []byte(pod + ": done\n"), nil, nil
}

const backup = `
apiVersion: velero.io/v1
kind: Backup
metadata: {name: go}
spec:
  includedNamespaces: [shop]
  labelSelector: {matchLabels: {app: web}}
  snapshotVolumes: false
`

func members(data []byte) (int, error) {
	unzipped, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return 0, err
	}
	count := 0
	for archive := tar.NewReader(unzipped); ; count++ {
		if _, err := archive.Next(); errors.Is(err, io.EOF) {
			return count, nil
		} else if err != nil {
			return 0, err
		}
	}
}

func setUp(cluster string, store vmbackup.Store, exec vmbackup.Exec) (*vmbackup.Context, error) {
	ctx, err := vmbackup.NewContext()
	if err != nil {
		return nil, err
	}
	err = errors.Join(
		ctx.Use("cluster.dir", map[string]string{"path": cluster}),
		ctx.Use("actions.kubernetes", nil),
		ctx.Use("actions.kubevirt", nil),
		ctx.AddExec(exec),
		ctx.AddStore("memory", true, store))
	if err != nil {
		ctx.Close()
		return nil, err
	}
	return ctx, nil
}

func backUp(ctx *vmbackup.Context) (string, error) {
	spec, err := vmbackup.ParseSpec(backup)
	if err != nil {
		return "", err
	}
	defer spec.Close()
	stored := 0
	run, err := vmbackup.NewRun(ctx, spec, func(e vmbackup.Event) {
		if e.Kind == vmbackup.EventStored {
			stored++
		}
	})
	if err != nil {
		return "", err
	}
	defer run.Close()
	err = run.Execute()
	fmt.Println(run.Phase(), stored, "files")
	return run.Phase(), err
}

func look(ctx *vmbackup.Context) error {
	catalog, err := vmbackup.OpenCatalog(ctx, "memory")
	if err != nil {
		return err
	}
	defer catalog.Close()
	var backups []struct {
		Metadata struct{ Name string }
	}
	if err := catalog.List(&backups); err != nil {
		return err
	}
	fmt.Println("backups:", backups)
	data, err := catalog.Read("go", vmbackup.FileContents)
	if err != nil {
		return err
	}
	count, err := members(data)
	fmt.Println(count, "members")
	return err
}

func run(cluster string) error {
	selector, err := vmbackup.ParseSelector("app in (web,db),!old")
	if err != nil {
		return err
	}
	defer selector.Close()
	yes, err := selector.Matches(map[string]string{"app": "web"})
	if err != nil {
		return err
	}
	no, err := selector.Matches(map[string]string{"app": "web", "old": ""})
	if err != nil {
		return err
	}
	fmt.Println(yes, no)

	g := &guest{}
	ctx, err := setUp(cluster, &mapStore{objects: map[string][]byte{}}, g)
	if err != nil {
		return err
	}
	phase, err := backUp(ctx)
	if err == nil {
		for _, command := range g.commands {
			fmt.Println("hook:", strings.Join(command, " "))
		}
		err = look(ctx)
	}
	if err == nil {
		err = repository(ctx, cluster)
	}
	ctx.Close()
	fmt.Println("providers left:", vmbackup.LiveProviders())
	if err == nil && (phase != "Completed" || vmbackup.LiveProviders() != 0) {
		err = fmt.Errorf("phase %s, %d providers left", phase, vmbackup.LiveProviders())
	}
	return err
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: demo CLUSTER-DIR")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "backup:", err)
		os.Exit(1)
	}
}
