// Command csi-driver is the rig's CSI driver. It keeps volumes and snapshots
// as real bytes below --state-dir, writes a journal of every call, and
// misbehaves on command through a small HTTP port on loopback.
package main

import (
	"context"
	"flag"
	"log"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
)

const version = "1.0.0"

func main() {
	endpoint := flag.String("endpoint", "", "unix socket of the CSI services, unix:///path or a path")
	stateDir := flag.String("state-dir", "", "directory of volumes, snapshots and the journal")
	control := flag.String("control", "", "loopback address of the control port, e.g. 127.0.0.1:0; the address is written to STATE_DIR/control.addr")
	name := flag.String("driver-name", "csi.rig.vmbackup.io", "name of the driver")
	nodeID := flag.String("node-id", "rig-node", "node id")
	flag.Parse()
	if *endpoint == "" || *stateDir == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	st, err := openStore(*stateDir)
	if err != nil {
		log.Fatal(err)
	}
	d := &driver{name: *name, nodeID: *nodeID, store: st, faults: &faultSet{}}
	path := strings.TrimPrefix(*endpoint, "unix://")
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		log.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		log.Fatal(err)
	}
	if *control != "" {
		if err := d.serveControl(*control); err != nil {
			log.Fatal(err)
		}
	}
	s := grpc.NewServer(grpc.UnaryInterceptor(d.intercept))
	csi.RegisterIdentityServer(s, d)
	csi.RegisterControllerServer(s, d)
	csi.RegisterNodeServer(s, d)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		s.Stop()
	}()
	log.Printf("serving %s on %s", *name, path)
	if err := s.Serve(l); err != nil {
		log.Fatal(err)
	}
}
