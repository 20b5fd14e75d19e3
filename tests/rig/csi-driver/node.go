package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func (d *driver) NodeGetInfo(context.Context, *csi.NodeGetInfoRequest) (*csi.NodeGetInfoResponse, error) {
	return &csi.NodeGetInfoResponse{NodeId: d.nodeID}, nil
}

func (d *driver) NodeGetCapabilities(context.Context, *csi.NodeGetCapabilitiesRequest) (*csi.NodeGetCapabilitiesResponse, error) {
	rsp := &csi.NodeGetCapabilitiesResponse{}
	for _, t := range []csi.NodeServiceCapability_RPC_Type{
		csi.NodeServiceCapability_RPC_STAGE_UNSTAGE_VOLUME,
		csi.NodeServiceCapability_RPC_GET_VOLUME_STATS,
	} {
		rsp.Capabilities = append(rsp.Capabilities, &csi.NodeServiceCapability{
			Type: &csi.NodeServiceCapability_Rpc{Rpc: &csi.NodeServiceCapability_RPC{Type: t}}})
	}
	return rsp, nil
}

// nodeVolume looks up the volume of a stage or publish call.
func (d *driver) nodeVolume(id, path string, c *csi.VolumeCapability) (*volume, error) {
	if id == "" || path == "" || c == nil {
		return nil, status.Error(codes.InvalidArgument, "volume id, path or capability missing")
	}
	mode, err := capMode([]*csi.VolumeCapability{c})
	if err != nil {
		return nil, err
	}
	v := d.store.volume(id)
	if v == nil {
		return nil, status.Errorf(codes.NotFound, "volume %s not found", id)
	}
	if v.Mode != mode {
		return nil, status.Errorf(codes.InvalidArgument, "the volume has mode %s", v.Mode)
	}
	return v, nil
}

// NodeStageVolume has nothing to attach: the data lies on this machine.
func (d *driver) NodeStageVolume(ctx context.Context, req *csi.NodeStageVolumeRequest) (*csi.NodeStageVolumeResponse, error) {
	if _, err := d.nodeVolume(req.GetVolumeId(), req.GetStagingTargetPath(), req.GetVolumeCapability()); err != nil {
		return nil, err
	}
	return &csi.NodeStageVolumeResponse{}, nil
}

func (d *driver) NodeUnstageVolume(ctx context.Context, req *csi.NodeUnstageVolumeRequest) (*csi.NodeUnstageVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id or staging target path missing")
	}
	return &csi.NodeUnstageVolumeResponse{}, nil
}

// NodePublishVolume bind-mounts the directory, or the file of a block volume,
// at the target. Where mounting is not permitted it leaves a symbolic link.
func (d *driver) NodePublishVolume(ctx context.Context, req *csi.NodePublishVolumeRequest) (*csi.NodePublishVolumeResponse, error) {
	v, err := d.nodeVolume(req.GetVolumeId(), req.GetTargetPath(), req.GetVolumeCapability())
	if err != nil {
		return nil, err
	}
	if req.GetStagingTargetPath() == "" {
		return nil, status.Error(codes.FailedPrecondition, "staging target path missing")
	}
	target := filepath.Clean(req.GetTargetPath())
	d.mu.Lock()
	defer d.mu.Unlock()
	if sameFile(v.Path, target) {
		return &csi.NodePublishVolumeResponse{}, nil
	}
	if err := publish(v, target, req.GetReadonly()); err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodePublishVolumeResponse{}, nil
}

func sameFile(a, b string) bool {
	x, err1 := os.Stat(a)
	y, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(x, y)
}

func publish(v *volume, target string, readOnly bool) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	if v.Mode == modeFilesystem {
		if err := os.Mkdir(target, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
	} else {
		f, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	err := syscall.Mount(v.Path, target, "", syscall.MS_BIND, "")
	if errors.Is(err, syscall.EPERM) {
		if err := os.Remove(target); err != nil {
			return err
		}
		return os.Symlink(v.Path, target)
	}
	if err == nil && readOnly {
		err = syscall.Mount("", target, "", syscall.MS_REMOUNT|syscall.MS_BIND|syscall.MS_RDONLY, "")
	}
	return err
}

func (d *driver) NodeUnpublishVolume(ctx context.Context, req *csi.NodeUnpublishVolumeRequest) (*csi.NodeUnpublishVolumeResponse, error) {
	if req.GetVolumeId() == "" || req.GetTargetPath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id or target path missing")
	}
	target := filepath.Clean(req.GetTargetPath())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := syscall.Unmount(target, 0); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.EPERM) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	// Remove, not RemoveAll: a target that is still mounted keeps its data.
	if err := os.Remove(target); err != nil && !os.IsNotExist(err) {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &csi.NodeUnpublishVolumeResponse{}, nil
}

func (d *driver) NodeGetVolumeStats(ctx context.Context, req *csi.NodeGetVolumeStatsRequest) (*csi.NodeGetVolumeStatsResponse, error) {
	if req.GetVolumeId() == "" || req.GetVolumePath() == "" {
		return nil, status.Error(codes.InvalidArgument, "volume id or path missing")
	}
	v := d.store.volume(req.GetVolumeId())
	if v == nil || !sameFile(v.Path, req.GetVolumePath()) {
		return nil, status.Errorf(codes.NotFound, "volume %s not found at %s", req.GetVolumeId(), req.GetVolumePath())
	}
	return &csi.NodeGetVolumeStatsResponse{Usage: []*csi.VolumeUsage{{Unit: csi.VolumeUsage_BYTES, Total: v.Bytes}}}, nil
}
