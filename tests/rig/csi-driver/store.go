package main

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"sync"
	"time"
)

const (
	modeFilesystem = "Filesystem"
	modeBlock      = "Block"
)

// volume is one volume: meta.json beside data, a directory (Filesystem) or a
// sparse file (Block).
type volume struct {
	ID             string            `json:"id"`
	Name           string            `json:"name"`
	Mode           string            `json:"mode"`
	Bytes          int64             `json:"bytes"`
	SourceSnapshot string            `json:"sourceSnapshot,omitempty"`
	SourceVolume   string            `json:"sourceVolume,omitempty"`
	Parameters     map[string]string `json:"parameters,omitempty"`
	Created        time.Time         `json:"created"`
	Path           string            `json:"path"`
}

// snapshot is one snapshot, laid out as a volume is. Bytes is what the driver
// reports, VolumeBytes the true size of the source.
type snapshot struct {
	ID          string            `json:"id"`
	Name        string            `json:"name"`
	Volume      string            `json:"volume"`
	Mode        string            `json:"mode"`
	Bytes       int64             `json:"bytes"`
	VolumeBytes int64             `json:"volumeBytes"`
	Parameters  map[string]string `json:"parameters,omitempty"`
	Created     time.Time         `json:"created"`
	ReadyAt     time.Time         `json:"readyAt"`
	Path        string            `json:"path"`
}

type entry struct {
	Seq      int64  `json:"seq"`
	Time     string `json:"time"`
	NS       int64  `json:"ns"`
	Method   string `json:"method"`
	Phase    string `json:"phase"`
	Volume   string `json:"volume,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	Name     string `json:"name,omitempty"`
	Ready    *bool  `json:"ready,omitempty"`
	Code     string `json:"code,omitempty"`
	Message  string `json:"message,omitempty"`
}

type store struct {
	dir string

	mu        sync.Mutex
	volumes   map[string]*volume
	snapshots map[string]*snapshot

	jmu     sync.Mutex
	journal *os.File
	entries []entry
	calls   map[string]int64
}

func openStore(dir string) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &store{dir: dir, volumes: map[string]*volume{}, snapshots: map[string]*snapshot{}, calls: map[string]int64{}}
	if err := os.RemoveAll(filepath.Join(dir, "tmp")); err != nil {
		return nil, err
	}
	for _, sub := range []string{"volumes", "snapshots", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, err
		}
	}
	metas, err := filepath.Glob(filepath.Join(dir, "volumes", "*", "meta.json"))
	if err != nil {
		return nil, err
	}
	for _, m := range metas {
		v := &volume{}
		if err := readJSON(m, v); err != nil {
			return nil, err
		}
		v.Path = filepath.Join(filepath.Dir(m), "data")
		s.volumes[v.ID] = v
	}
	metas, err = filepath.Glob(filepath.Join(dir, "snapshots", "*", "meta.json"))
	if err != nil {
		return nil, err
	}
	for _, m := range metas {
		sn := &snapshot{}
		if err := readJSON(m, sn); err != nil {
			return nil, err
		}
		sn.Path = filepath.Join(filepath.Dir(m), "data")
		s.snapshots[sn.ID] = sn
	}
	jpath := filepath.Join(dir, "journal.jsonl")
	old, err := os.ReadFile(jpath)
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	for line := range bytes.Lines(old) {
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue // a line cut short by a kill
		}
		s.entries = append(s.entries, e)
		if e.Phase == "begin" {
			s.calls[e.Method]++
		}
	}
	s.journal, err = os.OpenFile(jpath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if n := len(old); err == nil && n > 0 && old[n-1] != '\n' {
		_, err = s.journal.WriteString("\n")
	}
	return s, err
}

func readJSON(path string, into any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, into); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, append(b, '\n'), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func newID(prefix string) string {
	b := make([]byte, 8)
	rand.Read(b)
	return prefix + hex.EncodeToString(b)
}

// note appends one entry; the clock is read under the lock, so the order of
// the lines is the order of the times.
func (s *store) note(e entry) {
	s.jmu.Lock()
	defer s.jmu.Unlock()
	now := time.Now()
	e.Seq = int64(len(s.entries)) + 1
	e.NS = now.UnixNano()
	e.Time = now.UTC().Format("2006-01-02T15:04:05.000000000Z")
	s.entries = append(s.entries, e)
	if e.Phase == "begin" {
		s.calls[e.Method]++
	}
	b, _ := json.Marshal(e)
	s.journal.Write(append(b, '\n'))
}

func (s *store) since(seq int64) []entry {
	s.jmu.Lock()
	defer s.jmu.Unlock()
	seq = min(max(seq, 0), int64(len(s.entries)))
	return append([]entry{}, s.entries[seq:]...)
}

func (s *store) counters() map[string]int64 {
	s.jmu.Lock()
	defer s.jmu.Unlock()
	out := map[string]int64{}
	for k, v := range s.calls {
		out[k] = v
	}
	return out
}

func (s *store) volume(id string) *volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.volumes[id]
}

func (s *store) volumeNamed(name string) *volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.volumes {
		if v.Name == name {
			return v
		}
	}
	return nil
}

func (s *store) snapshot(id string) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshots[id]
}

func (s *store) snapshotNamed(name string) *snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sn := range s.snapshots {
		if sn.Name == name {
			return sn
		}
	}
	return nil
}

func (s *store) listVolumes() []*volume {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*volume{}
	for _, v := range s.volumes {
		out = append(out, v)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

func (s *store) listSnapshots() []*snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []*snapshot{}
	for _, sn := range s.snapshots {
		out = append(out, sn)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out
}

// copyData copies a directory or a file, holes kept, extents shared where the
// file system can.
func copyData(from, to string) error {
	out, err := exec.Command("cp", "-a", "--sparse=auto", "--reflink=auto", "-T", from, to).CombinedOutput()
	if err != nil {
		return fmt.Errorf("cp: %v: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// addVolume fills a temporary directory and renames it into place, so that a
// volume is there whole or not at all.
func (s *store) addVolume(v *volume, source string) error {
	tmp := filepath.Join(s.dir, "tmp", v.ID)
	final := filepath.Join(s.dir, "volumes", v.ID)
	defer os.RemoveAll(tmp)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	data := filepath.Join(tmp, "data")
	switch {
	case source != "":
		if err := copyData(source, data); err != nil {
			return err
		}
	case v.Mode == modeFilesystem:
		if err := os.Mkdir(data, 0o755); err != nil {
			return err
		}
	default:
		if err := os.WriteFile(data, nil, 0o644); err != nil {
			return err
		}
	}
	if v.Mode == modeBlock {
		if err := os.Truncate(data, v.Bytes); err != nil {
			return err
		}
	}
	v.Path = filepath.Join(final, "data")
	if err := writeJSON(filepath.Join(tmp, "meta.json"), v); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.volumes[v.ID] = v
	return nil
}

func (s *store) growVolume(id string, size int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := *s.volumes[id]
	v.Bytes = size
	if v.Mode == modeBlock {
		if err := os.Truncate(v.Path, size); err != nil {
			return err
		}
	}
	if err := writeJSON(filepath.Join(s.dir, "volumes", id, "meta.json"), &v); err != nil {
		return err
	}
	s.volumes[id] = &v
	return nil
}

// addSnapshot cuts the snapshot; cut-begin and cut-end in the journal stand
// around the copy.
func (s *store) addSnapshot(sn *snapshot, v *volume, readyAfter time.Duration) error {
	tmp := filepath.Join(s.dir, "tmp", sn.ID)
	final := filepath.Join(s.dir, "snapshots", sn.ID)
	defer os.RemoveAll(tmp)
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	sn.Created = time.Now()
	s.note(entry{Method: "CreateSnapshot", Phase: "cut-begin", Volume: v.ID, Snapshot: sn.ID, Name: sn.Name})
	if err := copyData(v.Path, filepath.Join(tmp, "data")); err != nil {
		return err
	}
	s.note(entry{Method: "CreateSnapshot", Phase: "cut-end", Volume: v.ID, Snapshot: sn.ID, Name: sn.Name})
	sn.ReadyAt = time.Now().Add(readyAfter)
	sn.Path = filepath.Join(final, "data")
	if err := writeJSON(filepath.Join(tmp, "meta.json"), sn); err != nil {
		return err
	}
	if err := os.Rename(tmp, final); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshots[sn.ID] = sn
	return nil
}

func (s *store) removeVolume(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.volumes[id] == nil {
		return nil
	}
	if err := s.discard("volumes", id); err != nil {
		return err
	}
	delete(s.volumes, id)
	return nil
}

func (s *store) removeSnapshot(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.snapshots[id] == nil {
		return nil
	}
	if err := s.discard("snapshots", id); err != nil {
		return err
	}
	delete(s.snapshots, id)
	return nil
}

// discard takes volumes/ID or snapshots/ID out of sight at once and frees its
// blocks in the background; openStore sweeps what a kill left in tmp.
func (s *store) discard(kind, id string) error {
	tmp := filepath.Join(s.dir, "tmp", newID(id+"-"))
	if err := os.Rename(filepath.Join(s.dir, kind, id), tmp); err != nil {
		return err
	}
	go os.RemoveAll(tmp)
	return nil
}
