package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

type driver struct {
	csi.UnimplementedIdentityServer
	csi.UnimplementedControllerServer
	csi.UnimplementedNodeServer

	name   string
	nodeID string
	store  *store
	faults *faultSet

	mu   sync.Mutex
	busy map[string]bool
	hold map[string]*hold
}

// hold is the time before which the snapshot of that name gives no answer.
type hold struct {
	until time.Time
	late  bool
}

// lock refuses a second call for the same object, as the CSI specification
// asks: ABORTED, which the caller retries.
func (d *driver) lock(key string) (func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy[key] {
		return nil, status.Errorf(codes.Aborted, "an operation on %s is pending", key)
	}
	if d.busy == nil {
		d.busy = map[string]bool{}
	}
	d.busy[key] = true
	return func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.busy, key)
	}, nil
}

func sleep(ctx context.Context, wait time.Duration) error {
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

var quiet = map[string]bool{
	"Probe": true, "GetPluginInfo": true, "GetPluginCapabilities": true,
	"ControllerGetCapabilities": true, "NodeGetCapabilities": true, "NodeGetInfo": true, "GetCapacity": true,
}

// intercept keeps the journal and applies the faults that fit any method.
func (d *driver) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	method := info.FullMethod[strings.LastIndexByte(info.FullMethod, '/')+1:]
	if quiet[method] {
		return handler(ctx, req)
	}
	e := entry{Method: method, Phase: "begin"}
	if r, ok := req.(interface{ GetName() string }); ok {
		e.Name = r.GetName()
	}
	if r, ok := req.(interface{ GetVolumeId() string }); ok {
		e.Volume = r.GetVolumeId()
	}
	if r, ok := req.(interface{ GetSourceVolumeId() string }); ok {
		e.Volume = r.GetSourceVolumeId()
	}
	if r, ok := req.(interface{ GetSnapshotId() string }); ok {
		e.Snapshot = r.GetSnapshotId()
		if sn := d.store.snapshot(e.Snapshot); sn != nil && e.Volume == "" {
			e.Volume = sn.Volume
		}
	}
	d.store.note(e)

	var rsp any
	var err error
	if f := d.faults.take("fail", method, e.Volume, false); f != nil {
		err = f.err()
	}
	if err == nil && method != "CreateSnapshot" {
		if f := d.faults.take("handle-after", method, e.Volume, false); f != nil {
			err = sleep(ctx, f.duration())
		}
	}
	if err == nil {
		rsp, err = handler(ctx, req)
	}
	if err == nil {
		if f := d.faults.take("fail", method, e.Volume, true); f != nil {
			err = f.err()
		}
	}

	e.Phase = "end"
	if r, ok := rsp.(*csi.CreateVolumeResponse); ok {
		e.Volume = r.GetVolume().GetVolumeId()
	}
	if r, ok := rsp.(*csi.CreateSnapshotResponse); ok {
		e.Snapshot = r.GetSnapshot().GetSnapshotId()
		ready := r.GetSnapshot().GetReadyToUse()
		e.Ready = &ready
	}
	if err != nil {
		e.Code, e.Message, e.Ready = status.Code(err).String(), status.Convert(err).Message(), nil
		rsp = nil
	}
	d.store.note(e)
	if err != nil {
		return nil, err
	}
	return rsp, nil
}

func (d *driver) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: d.name, VendorVersion: version}, nil
}

func (d *driver) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

func (d *driver) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}
