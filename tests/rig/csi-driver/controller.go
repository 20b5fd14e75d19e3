package main

import (
	"context"
	"strconv"
	"syscall"
	"time"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"
)

const (
	defaultBytes = 1 << 30
	maxBytes     = 1 << 43 // below ext4's limit of 16 TiB for one file
)

func (d *driver) ControllerGetCapabilities(context.Context, *csi.ControllerGetCapabilitiesRequest) (*csi.ControllerGetCapabilitiesResponse, error) {
	rsp := &csi.ControllerGetCapabilitiesResponse{}
	for _, t := range []csi.ControllerServiceCapability_RPC_Type{
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_VOLUME,
		csi.ControllerServiceCapability_RPC_LIST_VOLUMES,
		csi.ControllerServiceCapability_RPC_GET_CAPACITY,
		csi.ControllerServiceCapability_RPC_CREATE_DELETE_SNAPSHOT,
		csi.ControllerServiceCapability_RPC_LIST_SNAPSHOTS,
		csi.ControllerServiceCapability_RPC_CLONE_VOLUME,
		csi.ControllerServiceCapability_RPC_EXPAND_VOLUME,
	} {
		rsp.Capabilities = append(rsp.Capabilities, &csi.ControllerServiceCapability{
			Type: &csi.ControllerServiceCapability_Rpc{Rpc: &csi.ControllerServiceCapability_RPC{Type: t}}})
	}
	return rsp, nil
}

func (d *driver) GetCapacity(context.Context, *csi.GetCapacityRequest) (*csi.GetCapacityResponse, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(d.store.dir, &st); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.GetCapacityResponse{AvailableCapacity: int64(st.Bavail) * st.Bsize}, nil
}

// capMode gives the volume mode that the capabilities ask for.
func capMode(caps []*csi.VolumeCapability) (string, error) {
	mode := ""
	for _, c := range caps {
		m := ""
		switch {
		case c.GetAccessMode() == nil:
			return "", status.Error(codes.InvalidArgument, "access mode missing")
		case c.GetBlock() != nil:
			m = modeBlock
		case c.GetMount() != nil:
			m = modeFilesystem
		default:
			return "", status.Error(codes.InvalidArgument, "access type missing")
		}
		if mode != "" && m != mode {
			return "", status.Error(codes.InvalidArgument, "both block and mount asked for")
		}
		mode = m
	}
	if mode == "" {
		return "", status.Error(codes.InvalidArgument, "volume capabilities missing")
	}
	return mode, nil
}

func (d *driver) CreateVolume(ctx context.Context, req *csi.CreateVolumeRequest) (*csi.CreateVolumeResponse, error) {
	if req.GetName() == "" {
		return nil, status.Error(codes.InvalidArgument, "name missing")
	}
	mode, err := capMode(req.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	unlock, err := d.lock("volume " + req.GetName())
	if err != nil {
		return nil, err
	}
	defer unlock()

	need, limit := req.GetCapacityRange().GetRequiredBytes(), req.GetCapacityRange().GetLimitBytes()
	if need < 0 || limit < 0 || limit > 0 && need > limit {
		return nil, status.Error(codes.InvalidArgument, "capacity range is not a range")
	}
	if need > maxBytes {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes are more than %d", need, int64(maxBytes))
	}
	v := &volume{ID: newID("vol-"), Name: req.GetName(), Mode: mode, Parameters: req.GetParameters(), Created: time.Now(),
		SourceSnapshot: req.GetVolumeContentSource().GetSnapshot().GetSnapshotId(),
		SourceVolume:   req.GetVolumeContentSource().GetVolume().GetVolumeId()}
	if req.GetVolumeContentSource() != nil && v.SourceSnapshot == "" && v.SourceVolume == "" {
		return nil, status.Error(codes.InvalidArgument, "content source without an id")
	}
	if old := d.store.volumeNamed(v.Name); old != nil {
		if old.Mode != mode || old.Bytes < need || limit > 0 && old.Bytes > limit ||
			old.SourceSnapshot != v.SourceSnapshot || old.SourceVolume != v.SourceVolume {
			return nil, status.Errorf(codes.AlreadyExists, "volume %s exists and differs", v.Name)
		}
		return &csi.CreateVolumeResponse{Volume: volumeOf(old)}, nil
	}

	source, sourceMode, sourceBytes := "", mode, int64(0)
	switch {
	case v.SourceSnapshot != "":
		sn := d.store.snapshot(v.SourceSnapshot)
		if sn == nil {
			return nil, status.Errorf(codes.NotFound, "snapshot %s not found", v.SourceSnapshot)
		}
		if !sn.ready() {
			return nil, status.Errorf(codes.Unavailable, "snapshot %s is not ready", sn.ID)
		}
		source, sourceMode, sourceBytes = sn.Path, sn.Mode, sn.VolumeBytes
	case v.SourceVolume != "":
		src := d.store.volume(v.SourceVolume)
		if src == nil {
			return nil, status.Errorf(codes.NotFound, "volume %s not found", v.SourceVolume)
		}
		source, sourceMode, sourceBytes = src.Path, src.Mode, src.Bytes
	}
	if sourceMode != mode {
		return nil, status.Errorf(codes.InvalidArgument, "the source has mode %s, the volume %s", sourceMode, mode)
	}
	v.Bytes = need
	if need == 0 {
		v.Bytes = max(sourceBytes, defaultBytes)
		if sourceBytes > 0 {
			v.Bytes = sourceBytes
		}
		if limit > 0 {
			v.Bytes = min(v.Bytes, limit)
		}
	}
	if v.Bytes < sourceBytes {
		return nil, status.Errorf(codes.OutOfRange, "%d bytes are less than the source's %d", v.Bytes, sourceBytes)
	}
	if err := d.store.addVolume(v, source); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.CreateVolumeResponse{Volume: volumeOf(v)}, nil
}

func volumeOf(v *volume) *csi.Volume {
	out := &csi.Volume{VolumeId: v.ID, CapacityBytes: v.Bytes}
	switch {
	case v.SourceSnapshot != "":
		out.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Snapshot{
			Snapshot: &csi.VolumeContentSource_SnapshotSource{SnapshotId: v.SourceSnapshot}}}
	case v.SourceVolume != "":
		out.ContentSource = &csi.VolumeContentSource{Type: &csi.VolumeContentSource_Volume{
			Volume: &csi.VolumeContentSource_VolumeSource{VolumeId: v.SourceVolume}}}
	}
	return out
}

func (d *driver) DeleteVolume(ctx context.Context, req *csi.DeleteVolumeRequest) (*csi.DeleteVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id missing")
	}
	if err := d.store.removeVolume(req.GetVolumeId()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteVolumeResponse{}, nil
}

func (d *driver) ValidateVolumeCapabilities(ctx context.Context, req *csi.ValidateVolumeCapabilitiesRequest) (*csi.ValidateVolumeCapabilitiesResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id missing")
	}
	mode, err := capMode(req.GetVolumeCapabilities())
	if err != nil {
		return nil, err
	}
	v := d.store.volume(req.GetVolumeId())
	if v == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s not found", req.GetVolumeId())
	}
	if v.Mode != mode {
		return &csi.ValidateVolumeCapabilitiesResponse{Message: "the volume has mode " + v.Mode}, nil
	}
	return &csi.ValidateVolumeCapabilitiesResponse{Confirmed: &csi.ValidateVolumeCapabilitiesResponse_Confirmed{
		VolumeContext: req.GetVolumeContext(), VolumeCapabilities: req.GetVolumeCapabilities(), Parameters: req.GetParameters()}}, nil
}

// page cuts a list sorted by id. The token is the index of the first entry.
func page[T any](list []T, token string, size int32) ([]T, string, error) {
	start := 0
	if token != "" {
		n, err := strconv.Atoi(token)
		if err != nil || n < 0 || n > len(list) {
			return nil, "", status.Errorf(codes.Aborted, "starting token %q is not valid", token)
		}
		start = n
	}
	if size < 0 {
		return nil, "", status.Error(codes.InvalidArgument, "max entries is negative")
	}
	list = list[start:]
	if size == 0 || len(list) <= int(size) {
		return list, "", nil
	}
	return list[:size], strconv.Itoa(start + int(size)), nil
}

func (d *driver) ListVolumes(ctx context.Context, req *csi.ListVolumesRequest) (*csi.ListVolumesResponse, error) {
	list, next, err := page(d.store.listVolumes(), req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	rsp := &csi.ListVolumesResponse{NextToken: next}
	for _, v := range list {
		rsp.Entries = append(rsp.Entries, &csi.ListVolumesResponse_Entry{Volume: volumeOf(v)})
	}
	return rsp, nil
}

func (d *driver) ControllerExpandVolume(ctx context.Context, req *csi.ControllerExpandVolumeRequest) (*csi.ControllerExpandVolumeResponse, error) {
	if req.GetVolumeId() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id missing")
	}
	if req.GetCapacityRange() == nil {
		return nil, status.Error(codes.InvalidArgument, "capacity range missing")
	}
	v := d.store.volume(req.GetVolumeId())
	if v == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s not found", req.GetVolumeId())
	}
	need, limit := req.GetCapacityRange().GetRequiredBytes(), req.GetCapacityRange().GetLimitBytes()
	if need > maxBytes || limit > 0 && v.Bytes > limit {
		return nil, status.Error(codes.OutOfRange, "capacity out of range")
	}
	if need > v.Bytes {
		if err := d.store.growVolume(v.ID, need); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
	}
	return &csi.ControllerExpandVolumeResponse{CapacityBytes: max(need, v.Bytes)}, nil
}

func (sn *snapshot) ready() bool { return !time.Now().Before(sn.ReadyAt) }

func snapshotOf(sn *snapshot) *csi.Snapshot {
	return &csi.Snapshot{SnapshotId: sn.ID, SourceVolumeId: sn.Volume, SizeBytes: sn.Bytes,
		CreationTime: timestamppb.New(sn.Created), ReadyToUse: sn.ready()}
}

func (d *driver) CreateSnapshot(ctx context.Context, req *csi.CreateSnapshotRequest) (*csi.CreateSnapshotResponse, error) {
	name, id := req.GetName(), req.GetSourceVolumeId()
	if name == "" || id == "" {
		return nil, status.Error(codes.InvalidArgument, "name or source volume id missing")
	}
	unlock, err := d.lock("snapshot " + name)
	if err != nil {
		return nil, err
	}
	defer unlock()

	sn := d.store.snapshotNamed(name)
	if sn != nil && sn.Volume != id {
		return nil, status.Errorf(codes.AlreadyExists, "snapshot %s exists for volume %s", name, sn.Volume)
	}
	v := d.store.volume(id)
	if sn == nil && v == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s not found", id)
	}

	h := d.holdOf(name, id, sn == nil)
	if !h.late {
		if err := sleep(ctx, time.Until(h.until)); err != nil {
			return nil, err
		}
	}
	if sn == nil {
		sn = &snapshot{ID: newID("snap-"), Name: name, Volume: id, Mode: v.Mode, Bytes: v.Bytes, VolumeBytes: v.Bytes, Parameters: req.GetParameters()}
		if f := d.faults.take("size", "CreateSnapshot", id, false); f != nil {
			sn.Bytes = f.Bytes
		}
		var readyAfter time.Duration
		if f := d.faults.take("ready-after", "CreateSnapshot", id, false); f != nil {
			readyAfter = f.duration()
		}
		if err := d.store.addSnapshot(sn, v, readyAfter); err != nil {
			return nil, status.Error(codes.Internal, err.Error())
		}
		if f := d.faults.take("lose", "CreateSnapshot", id, false); f != nil {
			time.AfterFunc(f.duration(), func() { d.lose(sn) })
		}
	}
	if err := sleep(ctx, time.Until(h.until)); err != nil {
		return nil, err
	}
	return &csi.CreateSnapshotResponse{Snapshot: snapshotOf(sn)}, nil
}

// holdOf gives the wait of a snapshot name. It is taken once, at the first
// call, so that the caller's retries wait out the same time.
func (d *driver) holdOf(name, volume string, fresh bool) *hold {
	d.mu.Lock()
	defer d.mu.Unlock()
	if h := d.hold[name]; h != nil {
		return h
	}
	h := &hold{}
	if !fresh {
		return h
	}
	for _, late := range []bool{false, true} {
		if f := d.faults.take("handle-after", "CreateSnapshot", volume, late); f != nil {
			h.until, h.late = time.Now().Add(f.duration()), late
			if d.hold == nil {
				d.hold = map[string]*hold{}
			}
			d.hold[name] = h
			break
		}
	}
	return h
}

func (d *driver) DeleteSnapshot(ctx context.Context, req *csi.DeleteSnapshotRequest) (*csi.DeleteSnapshotResponse, error) {
	if req.GetSnapshotId() == "" {
		return nil, status.Error(codes.InvalidArgument, "snapshot id missing")
	}
	if err := d.store.removeSnapshot(req.GetSnapshotId()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.DeleteSnapshotResponse{}, nil
}

func (d *driver) ListSnapshots(ctx context.Context, req *csi.ListSnapshotsRequest) (*csi.ListSnapshotsResponse, error) {
	fit := []*snapshot{}
	for _, sn := range d.store.listSnapshots() {
		if (req.GetSnapshotId() == "" || req.GetSnapshotId() == sn.ID) && (req.GetSourceVolumeId() == "" || req.GetSourceVolumeId() == sn.Volume) {
			fit = append(fit, sn)
		}
	}
	list, next, err := page(fit, req.GetStartingToken(), req.GetMaxEntries())
	if err != nil {
		return nil, err
	}
	rsp := &csi.ListSnapshotsResponse{NextToken: next}
	for _, sn := range list {
		rsp.Entries = append(rsp.Entries, &csi.ListSnapshotsResponse_Entry{Snapshot: snapshotOf(sn)})
	}
	return rsp, nil
}
