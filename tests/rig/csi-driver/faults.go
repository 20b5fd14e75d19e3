package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fault is one armed misbehaviour. An empty Volume fits every volume. Count
// is how many calls it takes; 0 or less means all until cleared.
type fault struct {
	ID      int64   `json:"id"`
	Kind    string  `json:"kind"`
	Method  string  `json:"method,omitempty"`
	Volume  string  `json:"volume,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Late    bool    `json:"late,omitempty"`
	Code    string  `json:"code,omitempty"`
	Message string  `json:"message,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"`
	Count   int64   `json:"count,omitempty"`
	Hits    int64   `json:"hits"`

	code codes.Code
}

func (f *fault) duration() time.Duration { return time.Duration(f.Seconds * float64(time.Second)) }

func (f *fault) err() error { return status.Error(f.code, f.Message) }

type faultSet struct {
	mu   sync.Mutex
	next int64
	list []*fault
}

// take finds the first armed fault that fits and counts the hit.
func (s *faultSet) take(kind, method, volume string, late bool) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, f := range s.list {
		if f.Kind != kind || f.Method != method || f.Late != late || f.Volume != "" && f.Volume != volume {
			continue
		}
		f.Hits++
		if f.Count > 0 && f.Hits >= f.Count {
			s.list = append(s.list[:i:i], s.list[i+1:]...)
		}
		c := *f
		return &c
	}
	return nil
}

func (s *faultSet) add(f *fault) error {
	switch f.Kind {
	case "handle-after", "ready-after", "size", "lose":
		if f.Method == "" {
			f.Method = "CreateSnapshot"
		}
	case "delete-fail":
		f.Kind, f.Method = "fail", "DeleteSnapshot"
		fallthrough
	case "fail":
		if f.Method == "" {
			f.Method = "CreateSnapshot"
		}
		if f.Code == "" {
			f.Code = "INTERNAL"
		}
		if f.Message == "" {
			f.Message = "fault on command"
		}
		c, err := parseCode(f.Code)
		if err != nil {
			return err
		}
		f.code = c
	default:
		return fmt.Errorf("unknown fault %q", f.Kind)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	f.ID, f.Hits = s.next, 0
	s.list = append(s.list, f)
	return nil
}

// clear drops the faults of a kind, all of them when kind is empty.
func (s *faultSet) clear(kind string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := []*fault{}
	for _, f := range s.list {
		if kind != "" && f.Kind != kind && !(kind == "delete-fail" && f.Kind == "fail" && f.Method == "DeleteSnapshot") {
			kept = append(kept, f)
		}
	}
	s.list = kept
}

func (s *faultSet) all() []fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []fault{}
	for _, f := range s.list {
		out = append(out, *f)
	}
	return out
}

// parseCode takes a gRPC code as a number, as RESOURCE_EXHAUSTED or as
// ResourceExhausted.
func parseCode(s string) (codes.Code, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 16 {
			return 0, fmt.Errorf("no gRPC code %d", n)
		}
		return codes.Code(n), nil
	}
	want := strings.ToLower(strings.ReplaceAll(s, "_", ""))
	for c := codes.Code(1); c <= 16; c++ {
		if strings.ToLower(c.String()) == want || c == codes.Canceled && want == "cancelled" {
			return c, nil
		}
	}
	return 0, fmt.Errorf("no gRPC code %q", s)
}

// serveControl starts the control port. It refuses any address that is not
// loopback.
func (d *driver) serveControl(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	if !l.Addr().(*net.TCPAddr).IP.IsLoopback() {
		l.Close()
		return fmt.Errorf("control address %s is not loopback", addr)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, r *http.Request) { reply(w, d.faults.all()) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		f := &fault{}
		dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		dec.DisallowUnknownFields()
		err := dec.Decode(f)
		if err == nil {
			err = d.faults.add(f)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, f)
	})
	mux.HandleFunc("DELETE /fault", func(w http.ResponseWriter, r *http.Request) {
		d.faults.clear(r.URL.Query().Get("kind"))
		reply(w, d.faults.all())
	})
	mux.HandleFunc("POST /lose", func(w http.ResponseWriter, r *http.Request) {
		id := r.URL.Query().Get("snapshot")
		sn := d.store.snapshot(id)
		if sn == nil {
			http.Error(w, "no snapshot "+id, http.StatusNotFound)
			return
		}
		d.lose(sn)
		reply(w, sn)
	})
	mux.HandleFunc("GET /journal", func(w http.ResponseWriter, r *http.Request) {
		since, _ := strconv.ParseInt(r.URL.Query().Get("since"), 10, 64)
		reply(w, d.store.since(since))
	})
	mux.HandleFunc("GET /counters", func(w http.ResponseWriter, r *http.Request) { reply(w, d.store.counters()) })
	mux.HandleFunc("GET /volumes", func(w http.ResponseWriter, r *http.Request) { reply(w, d.store.listVolumes()) })
	mux.HandleFunc("GET /snapshots", func(w http.ResponseWriter, r *http.Request) { reply(w, d.store.listSnapshots()) })
	go http.Serve(l, mux)
	path := filepath.Join(d.store.dir, "control.addr")
	if err := os.WriteFile(path+".new", []byte(l.Addr().String()+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func (d *driver) lose(sn *snapshot) {
	err := d.store.removeSnapshot(sn.ID)
	e := entry{Method: "lose", Phase: "end", Volume: sn.Volume, Snapshot: sn.ID, Name: sn.Name}
	if err != nil {
		e.Message = err.Error()
	}
	d.store.note(e)
}
