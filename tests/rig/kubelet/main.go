// rig-kubelet answers the exec requests that a kube-apiserver sends to a node's kubelet.
//
// There are no containers: a few commands are really run on this machine in a scratch folder,
// virt-freezer is emulated, and words that begin with "rig-" make faults. Each exec leaves one JSON
// line in a journal, so that a test can tell what ran, where and in which order.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"
)

type connKey struct{}

// Entry is a line of the journal.
type Entry struct {
	Time      string   `json:"time"`
	End       string   `json:"end,omitempty"`
	Namespace string   `json:"namespace"`
	Pod       string   `json:"pod"`
	Container string   `json:"container"`
	Argv      []string `json:"argv"`
	// Exit is null when the command gave no exit code: it could not be run, was dropped or never ends.
	Exit  *int   `json:"exit"`
	Error string `json:"error,omitempty"`
	// Event is "freeze", "thaw" or "thaw-timeout" where virt-freezer changed something.
	Event string `json:"event,omitempty"`
	Fault string `json:"fault,omitempty"`
}

type journal struct {
	mu   sync.Mutex
	file *os.File
}

func (j *journal) write(e *Entry) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		log.Printf("journal: %v", err)
		return
	}
	if _, err = j.file.Write(append(line, '\n')); err != nil {
		log.Printf("journal: %v", err)
	}
}

type server struct {
	journal *journal
	scratch string
	faults  *faults
	freezer *freezer
}

func stamp() string { return time.Now().UTC().Format("2006-01-02T15:04:05.000000Z") }

// ServeHTTP takes /exec/NAMESPACE/POD/[UID/]CONTAINER?command=...
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		_, _ = io.WriteString(w, "ok")
		return
	}
	at := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	if len(at) < 4 || len(at) > 5 || at[0] != "exec" {
		http.NotFound(w, r)
		return
	}
	opts, err := remotecommand.NewOptions(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	uid := ""
	if len(at) == 5 {
		uid = at[3]
	}
	argv := r.URL.Query()["command"]
	if len(argv) == 0 {
		http.Error(w, "no command", http.StatusBadRequest)
		return
	}
	run := &execution{server: s, namespace: at[1]}
	remotecommand.ServeExec(w, r, run, at[2], uid, at[len(at)-1], argv, opts, 4*time.Hour,
		30*time.Second, remotecommand.SupportedStreamingProtocols)
}

type execution struct {
	server    *server
	namespace string
}

var errDropped = errors.New("the connection was dropped on purpose")

// ExecInContainer is called when the streams are open.
func (x *execution) ExecInContainer(ctx context.Context, pod, _, container string, argv []string,
	in io.Reader, out, errOut io.WriteCloser, _ bool, _ <-chan remotecommand.TerminalSize,
	_ time.Duration) error {
	e := &Entry{Time: stamp(), Namespace: x.namespace, Pod: pod, Container: container, Argv: argv}
	c := &command{ctx: ctx, entry: e, server: x.server, in: in, out: discard(out), errOut: discard(errOut)}
	code, err := c.run()
	e.End = stamp()
	switch {
	case err != nil:
		e.Error = err.Error()
	default:
		e.Exit = &code
	}
	x.server.journal.write(e)
	if err != nil {
		return err
	}
	if code != 0 {
		return utilexec.CodeExitError{Err: fmt.Errorf("exit status %d", code), Code: code}
	}
	return nil
}

func discard(w io.Writer) io.Writer {
	if w == nil {
		return io.Discard
	}
	return w
}

// drop ends the TCP connection with a reset, in the middle of whatever is under way.
func drop(ctx context.Context) {
	conn, ok := ctx.Value(connKey{}).(net.Conn)
	if !ok {
		return
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func main() {
	listen := flag.String("listen", "127.0.0.1:10250", "address to serve HTTPS on")
	cert := flag.String("cert", "", "certificate file")
	key := flag.String("key", "", "key file")
	path := flag.String("journal", "exec.jsonl", "file that gets one JSON line for each exec")
	state := flag.String("state", ".", "folder for scratch folders, frozen/ and fault.json")
	flag.Parse()

	file, err := os.OpenFile(*path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		log.Fatal(err)
	}
	j := &journal{file: file}
	s := &server{
		journal: j,
		scratch: filepath.Join(*state, "scratch"),
		faults:  &faults{path: filepath.Join(*state, "fault.json")},
		freezer: &freezer{folder: filepath.Join(*state, "frozen"), journal: j, timers: map[string]*time.Timer{}},
	}
	if err = os.MkdirAll(s.freezer.folder, 0o755); err != nil {
		log.Fatal(err)
	}
	web := &http.Server{
		Addr:              *listen,
		Handler:           s,
		ReadHeaderTimeout: 30 * time.Second,
		// The streams need an HTTP/1.1 connection that can be taken over.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	go func() {
		<-stop
		_ = web.Close()
		os.Exit(0)
	}()
	log.Printf("serving on %s", *listen)
	log.Fatal(web.ListenAndServeTLS(*cert, *key))
}
