package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// freezer emulates KubeVirt's virt-freezer and the launcher behind it: a file in a folder for
// each guest that is frozen, and a thaw by itself after the timeout.
type freezer struct {
	mu      sync.Mutex
	folder  string
	journal *journal
	timers  map[string]*time.Timer
}

func (f *freezer) run(c *command, args []string, agent bool) (int, error) {
	flags := flag.NewFlagSet("virt-freezer", flag.ContinueOnError)
	flags.SetOutput(c.errOut)
	freeze := flags.Bool("freeze", false, "Freeze VM")
	unfreeze := flags.Bool("unfreeze", false, "Unfreeze VM")
	name := flags.String("name", "", "Name of the VirtualMachineInstance")
	namespace := flags.String("namespace", "", "Namespace of the VirtualMachineInstance")
	timeout := flags.Int("unfreezeTimeoutSeconds", 300, "Timeout for unfreeze in seconds")
	if flags.Parse(args) != nil {
		return 2, nil
	}
	if *name == "" || *namespace == "" || *freeze == *unfreeze {
		_, _ = fmt.Fprintln(c.errOut, "Use either --freeze or --unfreeze, with --name and --namespace")
		return 1, nil
	}
	if !agent {
		_, _ = fmt.Fprintln(c.out, "No guest agent, exiting")
		return 0, nil
	}
	guest := *namespace + "." + *name
	f.mu.Lock()
	defer f.mu.Unlock()
	if *unfreeze {
		c.entry.Event = "thaw"
		return 0, f.thaw(guest)
	}
	c.entry.Event = "freeze"
	if err := os.WriteFile(filepath.Join(f.folder, guest), []byte(stamp()+"\n"), 0o644); err != nil {
		return 0, err
	}
	if old := f.timers[guest]; old != nil {
		old.Stop()
	}
	entry := *c.entry
	var timer *time.Timer
	timer = time.AfterFunc(time.Duration(*timeout)*time.Second, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.timers[guest] == timer {
			entry.Time, entry.Event = stamp(), "thaw-timeout"
			_ = f.thaw(guest)
			f.journal.write(&entry)
		}
	})
	f.timers[guest] = timer
	return 0, nil
}

// thaw is called with the lock held.
func (f *freezer) thaw(guest string) error {
	if timer := f.timers[guest]; timer != nil {
		timer.Stop()
		delete(f.timers, guest)
	}
	err := os.Remove(filepath.Join(f.folder, guest))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
