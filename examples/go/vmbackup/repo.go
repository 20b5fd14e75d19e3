// SPDX-License-Identifier: Apache-2.0

package vmbackup

/*
#include <stdlib.h>
#include "bridge.h"
*/
import "C"

import (
	"encoding/json"
	"io"
	"runtime/cgo"
	"unsafe"
)

// Options of a call: the names that docs/repositories.md lists.
type Options map[string]any

// Repo is an opened repository in restic's format; one goroutine at a time uses it.
type Repo struct {
	p      *C.vmb_repo
	events cgo.Handle
}

// document encodes options for C.
func document(options Options) (*C.char, C.size_t, func(), error) {
	if options == nil {
		return nil, 0, func() {}, nil
	}
	data, err := json.Marshal(options)
	if err != nil {
		return nil, 0, nil, err
	}
	text, free := cstring(string(data))
	return text, C.size_t(len(data)), free, nil
}

// decode turns an owned document into out, which may be nil.
func decode(text *C.char, size C.size_t, out any) error {
	defer C.vmb_free(unsafe.Pointer(text))
	if out == nil {
		return nil
	}
	return json.Unmarshal(C.GoBytes(unsafe.Pointer(text), C.int(size)), out)
}

func newRepo(ctx *Context, location string, settings Options, init bool) (*Repo, error) {
	var name *C.char
	if location != "" {
		var freeName func()
		name, freeName = cstring(location)
		defer freeName()
	}
	text, size, free, e := document(settings)
	if e != nil {
		return nil, e
	}
	defer free()
	var r Repo
	var err *C.vmb_error
	var code C.vmb_code
	if init {
		code = C.vmb_repo_init(ctx.p, name, text, size, &r.p, &err)
	} else {
		code = C.vmb_repo_open(ctx.p, name, text, size, &r.p, &err)
	}
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &r, nil
}

// InitRepo makes a repository in a location ("": the default one).
func InitRepo(ctx *Context, location string, settings Options) (*Repo, error) {
	return newRepo(ctx, location, settings, true)
}

// OpenRepo opens a repository.
func OpenRepo(ctx *Context, location string, settings Options) (*Repo, error) {
	return newRepo(ctx, location, settings, false)
}

// OnEvent receives progress and warnings of the calls.
func (r *Repo) OnEvent(onEvent func(Event)) error {
	handle := cgo.NewHandle(onEvent)
	var err *C.vmb_error
	code := C.bridge_repo_set_event_fn(r.p, C.uintptr_t(handle), &err)
	if e := take(code, err); e != nil {
		handle.Delete()
		return e
	}
	if r.events != 0 {
		r.events.Delete()
	}
	r.events = handle
	return nil
}

// Cancel may be called from any goroutine.
func (r *Repo) Cancel() { C.vmb_repo_cancel(r.p) }

// Close releases the repository.
func (r *Repo) Close() {
	C.vmb_repo_free(r.p)
	r.p = nil
	if r.events != 0 {
		r.events.Delete()
		r.events = 0
	}
}

// Backup saves files and folders; the summary goes to out, which may be nil.
func (r *Repo) Backup(options Options, out any) error {
	text, size, free, e := document(options)
	if e != nil {
		return e
	}
	defer free()
	var summary *C.char
	var length C.size_t
	var err *C.vmb_error
	code := C.vmb_repo_backup(r.p, text, size, &summary, &length, &err)
	if e := take(code, err); e != nil {
		return e
	}
	return decode(summary, length, out)
}

// Restore brings files of a snapshot back.
func (r *Repo) Restore(snapshot string, options Options, out any) error {
	text, size, free, e := document(options)
	if e != nil {
		return e
	}
	defer free()
	id, freeID := cstring(snapshot)
	defer freeID()
	var summary *C.char
	var length C.size_t
	var err *C.vmb_error
	code := C.vmb_repo_restore(r.p, id, text, size, &summary, &length, &err)
	if e := take(code, err); e != nil {
		return e
	}
	return decode(summary, length, out)
}

// Snapshots lists the snapshots into out.
func (r *Repo) Snapshots(options Options, out any) error {
	text, size, free, e := document(options)
	if e != nil {
		return e
	}
	defer free()
	var list *C.char
	var length C.size_t
	var err *C.vmb_error
	code := C.vmb_repo_snapshots_json(r.p, text, size, &list, &length, &err)
	if e := take(code, err); e != nil {
		return e
	}
	return decode(list, length, out)
}

// Check checks the repository; what it finds goes to out.
func (r *Repo) Check(options Options, out any) error {
	text, size, free, e := document(options)
	if e != nil {
		return e
	}
	defer free()
	var report *C.char
	var length C.size_t
	var err *C.vmb_error
	code := C.vmb_repo_check(r.p, text, size, &report, &length, &err)
	if e := take(code, err); e != nil {
		return e
	}
	return decode(report, length, out)
}

// Disk is a file of a snapshot, for random reads by any number of goroutines.
type Disk struct{ p *C.vmb_disk }

var _ io.ReaderAt = (*Disk)(nil)

// OpenDisk opens a file of a snapshot; path "" is the only file in it.
func (r *Repo) OpenDisk(snapshot, path string) (*Disk, error) {
	id, free := cstring(snapshot)
	defer free()
	var file *C.char
	if path != "" {
		var freeFile func()
		file, freeFile = cstring(path)
		defer freeFile()
	}
	var d Disk
	var err *C.vmb_error
	code := C.vmb_disk_open(r.p, id, file, 0, &d.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &d, nil
}

// Size in bytes.
func (d *Disk) Size() int64 { return int64(C.vmb_disk_size(d.p)) }

// ReadAt reads verified bytes.
func (d *Disk) ReadAt(p []byte, offset int64) (int, error) {
	n := len(p)
	if left := d.Size() - offset; offset >= 0 && left < int64(n) {
		n = int(max(left, 0))
	}
	if n > 0 {
		var err *C.vmb_error
		code := C.vmb_disk_pread(d.p, unsafe.Pointer(&p[0]), C.size_t(n), C.int64_t(offset), &err)
		if e := take(code, err); e != nil {
			return 0, e
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Close releases the disk.
func (d *Disk) Close() { C.vmb_disk_free(d.p); d.p = nil }
