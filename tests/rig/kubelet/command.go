package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// allowed are the programs that are really run, by the names a container would know.
var allowed = map[string]string{
	"/bin/uname": "/bin/uname", "uname": "/bin/uname",
	"/bin/echo": "/bin/echo", "echo": "/bin/echo",
	"/bin/sh": "/bin/sh", "sh": "/bin/sh",
}

type command struct {
	ctx         context.Context
	entry       *Entry
	server      *server
	in          io.Reader
	out, errOut io.Writer
}

// run does what the argv says; it returns an exit code, or an error where there is none.
func (c *command) run() (int, error) {
	argv := c.entry.Argv
	fault := c.server.faults.take(argv)
	if fault != nil {
		c.entry.Fault = fault.String()
		if done, code, err := c.fail(fault); done {
			return code, err
		}
	}
	switch {
	case strings.HasPrefix(argv[0], "rig-"):
		return c.special(argv[0], argv[1:])
	case filepath.Base(argv[0]) == "virt-freezer":
		return c.server.freezer.run(c, argv[1:], fault == nil || fault.Agent == nil || *fault.Agent)
	}
	path, ok := allowed[argv[0]]
	if !ok {
		return 0, fmt.Errorf("exec: %q: executable file not found in $PATH", argv[0])
	}
	return c.program(path, argv[1:])
}

func (c *command) program(path string, args []string) (int, error) {
	folder := filepath.Join(c.server.scratch, c.entry.Namespace, c.entry.Pod, c.entry.Container)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = folder
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + folder,
		"HOSTNAME=" + c.entry.Pod, "POD_NAMESPACE=" + c.entry.Namespace,
		"CONTAINER=" + c.entry.Container}
	cmd.Stdout, cmd.Stderr = c.out, c.errOut
	if c.in != nil {
		// Not cmd.Stdin: Wait must not wait for a client that leaves its end open.
		pipe, err := cmd.StdinPipe()
		if err != nil {
			return 0, err
		}
		go func() {
			_, _ = io.Copy(pipe, c.in)
			_ = pipe.Close()
		}()
	}
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		if code := exit.ExitCode(); code >= 0 {
			return code, nil
		}
		return 137, nil
	}
	return 0, err
}

func (c *command) special(word string, args []string) (int, error) {
	number := func(otherwise int64) int64 {
		if len(args) > 0 {
			if n, err := strconv.ParseInt(args[0], 10, 64); err == nil {
				return n
			}
		}
		return otherwise
	}
	switch word {
	case "rig-sleep":
		seconds := 1.0
		if len(args) > 0 {
			seconds, _ = strconv.ParseFloat(args[0], 64)
		}
		time.Sleep(time.Duration(seconds * float64(time.Second)))
		return 0, nil
	case "rig-never":
		return c.never()
	case "rig-exit":
		return int(number(1)), nil
	case "rig-flood":
		return 0, flood(c.out, number(100<<20))
	case "rig-stderr":
		_, err := fmt.Fprintln(c.errOut, strings.Join(args, " "))
		return 0, err
	case "rig-argv":
		return 0, json.NewEncoder(c.out).Encode(args)
	case "rig-drop":
		return c.drop(number(0))
	}
	return 0, fmt.Errorf("exec: %q: executable file not found in $PATH", word)
}

// never leaves its line in the journal at once, since there will be no end.
func (c *command) never() (int, error) {
	c.server.journal.write(c.entry)
	select {}
}

// drop writes some bytes and resets the connection.
func (c *command) drop(bytes int64) (int, error) {
	if bytes > 0 {
		_ = flood(c.out, bytes)
	} else {
		_, _ = io.WriteString(c.out, "partial\n")
	}
	time.Sleep(100 * time.Millisecond) // so that the first part goes through
	drop(c.ctx)
	return 0, errDropped
}

// flood writes lines of 64 bytes, numbered, so that a reader can check them.
func flood(w io.Writer, total int64) error {
	buffer := bytes.NewBuffer(nil)
	for n := int64(0); n < total; {
		buffer.Reset()
		for n < total && buffer.Len() < 32<<10 {
			line := fmt.Sprintf("%063d\n", n/64)
			if left := total - n; left < 64 {
				line = line[:left]
			}
			buffer.WriteString(line)
			n += int64(len(line))
		}
		if _, err := w.Write(buffer.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// Fault says what shall go wrong with the next commands.
type Fault struct {
	ID     int64   `json:"id"`
	Match  string  `json:"match"`  // part of the argv, joined with spaces; "" is any
	Times  int     `json:"times"`  // how many commands it takes; 0 is all
	Sleep  float64 `json:"sleep"`  // seconds before anything else happens
	Stderr string  `json:"stderr"` // is written there
	Exit   *int    `json:"exit"`   // ends with this code, without running the command
	Never  bool    `json:"never"`
	Drop   bool    `json:"drop"`
	Agent  *bool   `json:"agent"` // false: virt-freezer finds no guest agent
}

func (f *Fault) String() string {
	text, err := json.Marshal(f)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

type faults struct {
	mu    sync.Mutex
	path  string
	id    int64
	taken int
}

// take returns the fault that is to befall the command, or nil.
func (f *faults) take(argv []string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := os.ReadFile(f.path)
	if err != nil {
		return nil
	}
	var fault Fault
	if json.Unmarshal(text, &fault) != nil || !strings.Contains(strings.Join(argv, " "), fault.Match) {
		return nil
	}
	if f.id != fault.ID {
		f.id, f.taken = fault.ID, 0
	}
	if fault.Times > 0 && f.taken >= fault.Times {
		return nil
	}
	f.taken++
	return &fault
}

// fail does the fault's part; done is false where the command shall run all the same.
func (c *command) fail(fault *Fault) (done bool, code int, err error) {
	time.Sleep(time.Duration(fault.Sleep * float64(time.Second)))
	if fault.Stderr != "" {
		_, _ = fmt.Fprintln(c.errOut, fault.Stderr)
	}
	switch {
	case fault.Never:
		code, err = c.never()
		return true, code, err
	case fault.Drop:
		code, err = c.drop(0)
		return true, code, err
	case fault.Exit != nil:
		return true, *fault.Exit, nil
	}
	return false, 0, nil
}
