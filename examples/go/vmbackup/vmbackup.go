// SPDX-License-Identifier: Apache-2.0

// Package vmbackup binds libvmbackup: backup of virtual machines on Kubernetes.
package vmbackup

/*
#cgo pkg-config: vmbackup
#include <stdlib.h>
#include "bridge.h"
*/
import "C"

import (
	"encoding/json"
	"fmt"
	"runtime/cgo"
	"unsafe"
)

// Values of the C constants that a caller needs.
const (
	FileContents = int(C.VMB_FILE_CONTENTS)
	FileLog      = int(C.VMB_FILE_LOG)

	EventPhase    = int(C.VMB_EVENT_PHASE)
	EventProgress = int(C.VMB_EVENT_PROGRESS)
	EventStored   = int(C.VMB_EVENT_STORED)

	ErrNotFound = int(C.VMB_E_NOT_FOUND)
	ErrExists   = int(C.VMB_E_EXISTS)
	ErrProvider = int(C.VMB_E_PROVIDER)
)

// Error is a failed call.
type Error struct {
	Code      int
	Message   string
	Retryable bool
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s", C.GoString(C.vmb_code_name(C.vmb_code(e.Code))), e.Message)
}

// take turns a code and the error that belongs to it into a Go error, and releases it.
func take(code C.vmb_code, err *C.vmb_error) error {
	if code == C.VMB_OK {
		return nil
	}
	defer C.vmb_error_free(err)
	return &Error{
		Code:      int(code),
		Message:   C.GoString(C.vmb_error_message(err)),
		Retryable: C.vmb_error_flags(err)&C.VMB_ERROR_RETRYABLE != 0,
	}
}

func cstring(s string) (*C.char, func()) {
	c := C.CString(s)
	return c, func() { C.free(unsafe.Pointer(c)) }
}

// Version of the loaded library.
func Version() string { return C.GoString(C.vmb_version_string()) }

// Selector is a compiled label selector.
type Selector struct{ p *C.vmb_selector }

// ParseSelector compiles the string form.
func ParseSelector(text string) (*Selector, error) {
	c, free := cstring(text)
	defer free()
	var s Selector
	var err *C.vmb_error
	code := C.vmb_selector_parse(c, &s.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &s, nil
}

// Matches tells whether a set of labels is selected.
func (s *Selector) Matches(labels map[string]string) (bool, error) {
	n := len(labels)
	kv := (**C.char)(C.calloc(C.size_t(2*n+1), C.size_t(unsafe.Sizeof(uintptr(0)))))
	defer C.free(unsafe.Pointer(kv))
	words := unsafe.Slice(kv, 2*n+1)
	i := 0
	for key, value := range labels {
		for _, word := range []string{key, value} {
			c, free := cstring(word)
			defer free()
			words[i] = c
			i++
		}
	}
	var yes C.int32_t
	var err *C.vmb_error
	code := C.vmb_selector_matches(s.p, kv, C.size_t(n), &yes, &err)
	return yes != 0, take(code, err)
}

// Close releases the selector.
func (s *Selector) Close() { C.vmb_selector_free(s.p); s.p = nil }

// Spec is a Backup resource.
type Spec struct{ p *C.vmb_spec }

// ParseSpec reads a Backup from YAML or JSON.
func ParseSpec(text string) (*Spec, error) {
	c, free := cstring(text)
	defer free()
	var s Spec
	var err *C.vmb_error
	code := C.vmb_spec_parse(c, C.size_t(len(text)), nil, &s.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &s, nil
}

// Close releases the spec.
func (s *Spec) Close() { C.vmb_spec_free(s.p); s.p = nil }

// Context holds settings, providers and locations.
type Context struct{ p *C.vmb_ctx }

// NewContext creates an empty context.
func NewContext() (*Context, error) {
	var c Context
	var err *C.vmb_error
	code := C.vmb_ctx_new(&c.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &c, nil
}

// Use registers a built-in provider; settings may be nil.
func (c *Context) Use(name string, settings any) error {
	cname, free := cstring(name)
	defer free()
	var text *C.char
	var size int
	if settings != nil {
		data, err := json.Marshal(settings)
		if err != nil {
			return err
		}
		var freeText func()
		text, freeText = cstring(string(data))
		defer freeText()
		size = len(data)
	}
	var err *C.vmb_error
	code := C.vmb_ctx_use(c.p, cname, text, C.size_t(size), &err)
	return take(code, err)
}

// AddStore adds a location whose store is written in Go. The library owns it from here on, also
// when the call fails.
func (c *Context) AddStore(location string, isDefault bool, store Store) error {
	name, free := cstring(location)
	defer free()
	prefix, freePrefix := cstring("")
	defer freePrefix()
	var flag C.int32_t
	if isDefault {
		flag = 1
	}
	var err *C.vmb_error
	code := C.bridge_add_store(c.p, name, prefix, flag, C.uintptr_t(newHandle(store)), &err)
	return take(code, err)
}

// AddExec makes a Go value run the commands of hooks.
func (c *Context) AddExec(exec Exec) error {
	var err *C.vmb_error
	code := C.bridge_add_exec(c.p, C.uintptr_t(newHandle(exec)), &err)
	return take(code, err)
}

// Close gives the context back.
func (c *Context) Close() { C.vmb_ctx_unref(c.p); c.p = nil }

// Event is progress of a run.
type Event struct {
	Kind          int
	Subject, Text string
	Done, Total   int64
}

// Run is one execution of a backup.
type Run struct {
	p      *C.vmb_run
	events cgo.Handle
}

// NewRun prepares a backup; onEvent may be nil.
func NewRun(ctx *Context, spec *Spec, onEvent func(Event)) (*Run, error) {
	var r Run
	var err *C.vmb_error
	code := C.vmb_run_new(ctx.p, spec.p, &r.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	if onEvent == nil {
		return &r, nil
	}
	r.events = cgo.NewHandle(onEvent)
	code = C.bridge_set_event_fn(r.p, C.uintptr_t(r.events), &err)
	if e := take(code, err); e != nil {
		r.Close()
		return nil, e
	}
	return &r, nil
}

// Execute runs to the end.
func (r *Run) Execute() error {
	var err *C.vmb_error
	code := C.vmb_run_execute(r.p, &err)
	return take(code, err)
}

// Cancel may be called from any goroutine.
func (r *Run) Cancel() { C.vmb_run_cancel(r.p) }

// Phase is Velero's phase.
func (r *Run) Phase() string { return C.GoString(C.vmb_run_phase(r.p)) }

// Close releases the run.
func (r *Run) Close() {
	C.vmb_run_free(r.p)
	r.p = nil
	if r.events != 0 {
		r.events.Delete()
		r.events = 0
	}
}

// Catalog is what a location holds.
type Catalog struct{ p *C.vmb_catalog }

// OpenCatalog opens the catalogue of a location.
func OpenCatalog(ctx *Context, location string) (*Catalog, error) {
	name, free := cstring(location)
	defer free()
	var c Catalog
	var err *C.vmb_error
	code := C.vmb_catalog_open(ctx.p, name, &c.p, &err)
	if e := take(code, err); e != nil {
		return nil, e
	}
	return &c, nil
}

// List decodes the Backup resources into out.
func (c *Catalog) List(out any) error {
	var text *C.char
	var size C.size_t
	var err *C.vmb_error
	code := C.vmb_catalog_list_json(c.p, &text, &size, &err)
	if e := take(code, err); e != nil {
		return e
	}
	defer C.vmb_free(unsafe.Pointer(text))
	return json.Unmarshal(C.GoBytes(unsafe.Pointer(text), C.int(size)), out)
}

// Read reads one file of a backup whole.
func (c *Catalog) Read(backup string, file int) ([]byte, error) {
	name, free := cstring(backup)
	defer free()
	var data []byte
	handle := cgo.NewHandle(&data)
	defer handle.Delete()
	var err *C.vmb_error
	code := C.bridge_read(c.p, name, C.int32_t(file), C.uintptr_t(handle), &err)
	return data, take(code, err)
}

// Close releases the catalogue.
func (c *Catalog) Close() { C.vmb_catalog_free(c.p); c.p = nil }
