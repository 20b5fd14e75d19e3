// SPDX-License-Identifier: Apache-2.0

package vmbackup

/*
#include <stdlib.h>
#include "bridge.h"
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime/cgo"
	"sort"
	"strings"
	"sync/atomic"
	"unsafe"
)

// Store is an object store written in Go. Its methods may be called from several threads.
type Store interface {
	// Put stores an object; an *Error with ErrExists when ifAbsent is set and the key exists.
	Put(key string, data []byte, ifAbsent bool) error
	// Get returns an *Error with ErrNotFound when there is no such key.
	Get(key string) ([]byte, error)
	// List gives the sizes of all keys that start with prefix.
	List(prefix string) (map[string]int64, error)
	Remove(key string) error
}

// Exec runs commands in containers.
type Exec interface {
	Run(namespace, pod, container string, command []string) (exitCode int, stdout, stderr []byte,
		err error)
}

var live atomic.Int64

// LiveProviders is how many providers the library still holds.
func LiveProviders() int64 { return live.Load() }

func newHandle(v any) cgo.Handle {
	live.Add(1)
	return cgo.NewHandle(v)
}

//export goDestroy
func goDestroy(user C.uintptr_t) {
	live.Add(-1)
	cgo.Handle(user).Delete()
}

// report turns the outcome of a callback into a code.
func report(slot **C.vmb_error, err error) C.vmb_code {
	if err == nil {
		return C.VMB_OK
	}
	code := C.vmb_code(C.VMB_E_PROVIDER)
	message := err.Error()
	var known *Error
	if errors.As(err, &known) {
		code = C.vmb_code(known.Code)
		message = known.Message
	}
	text, free := cstring(message)
	defer free()
	C.vmb_error_set(slot, code, 0, text)
	return code
}

// guard runs the body of a callback; a panic must not unwind through C.
func guard(slot **C.vmb_error, work func() error) (code C.vmb_code) {
	defer func() {
		if p := recover(); p != nil {
			code = report(slot, fmt.Errorf("panic: %v", p))
		}
	}()
	return report(slot, work())
}

func write(sink *C.vmb_sink, data []byte) error {
	if len(data) == 0 {
		return nil
	}
	var err *C.vmb_error
	code := C.vmb_sink_write(sink, unsafe.Pointer(&data[0]), C.size_t(len(data)), &err)
	return take(code, err)
}

type put struct {
	key      string
	ifAbsent bool
	data     []byte
}

//export goPutBegin
func goPutBegin(user C.uintptr_t, _ *C.vmb_job, key *C.char, flags C.uint32_t, op *C.uintptr_t,
	slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		p := &put{key: C.GoString(key), ifAbsent: flags&C.VMB_PUT_IF_ABSENT != 0}
		*op = C.uintptr_t(cgo.NewHandle(p))
		return nil
	})
}

//export goPutWrite
func goPutWrite(op C.uintptr_t, data unsafe.Pointer, size C.size_t, slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		p := cgo.Handle(op).Value().(*put)
		p.data = append(p.data, unsafe.Slice((*byte)(data), int(size))...)
		return nil
	})
}

//export goPutCommit
func goPutCommit(user C.uintptr_t, _ *C.vmb_job, op C.uintptr_t, slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		handle := cgo.Handle(op)
		defer handle.Delete()
		p := handle.Value().(*put)
		return cgo.Handle(user).Value().(Store).Put(p.key, p.data, p.ifAbsent)
	})
}

//export goPutAbort
func goPutAbort(op C.uintptr_t) { cgo.Handle(op).Delete() }

//export goGet
func goGet(user C.uintptr_t, _ *C.vmb_job, key *C.char, offset, length C.int64_t, sink *C.vmb_sink,
	slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		data, err := cgo.Handle(user).Value().(Store).Get(C.GoString(key))
		if err != nil {
			return err
		}
		if int64(offset) > int64(len(data)) {
			return &Error{Code: int(C.VMB_E_ARG), Message: "the range starts past the end"}
		}
		data = data[offset:]
		if length >= 0 && int64(length) < int64(len(data)) {
			data = data[:length]
		}
		return write(sink, data)
	})
}

//export goStat
func goStat(user C.uintptr_t, _ *C.vmb_job, key *C.char, size *C.int64_t, slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		data, err := cgo.Handle(user).Value().(Store).Get(C.GoString(key))
		*size = C.int64_t(len(data))
		return err
	})
}

// fold gives the entries of one level: keys that go on behind the delimiter become one prefix.
func fold(keys map[string]int64, prefix, delimiter string) (names []string, sizes map[string]int64) {
	sizes = map[string]int64{}
	for key, size := range keys {
		if delimiter != "" {
			if i := strings.Index(key[len(prefix):], delimiter); i >= 0 {
				key, size = key[:len(prefix)+i+len(delimiter)], -1
			}
		}
		sizes[key] = size
	}
	for key := range sizes {
		names = append(names, key)
	}
	sort.Strings(names)
	return names, sizes
}

//export goList
func goList(user C.uintptr_t, _ *C.vmb_job, prefix, delimiter *C.char, sink *C.vmb_key_sink,
	slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		start := C.GoString(prefix)
		keys, err := cgo.Handle(user).Value().(Store).List(start)
		if err != nil {
			return err
		}
		names, sizes := fold(keys, start, C.GoString(delimiter))
		for _, name := range names {
			var isPrefix C.int32_t
			if sizes[name] < 0 {
				isPrefix = 1
			}
			text, free := cstring(name)
			var e *C.vmb_error
			code := C.vmb_key_sink_push(sink, text, C.int64_t(sizes[name]), -1, isPrefix, &e)
			free()
			if err := take(code, e); err != nil {
				return err
			}
		}
		return nil
	})
}

//export goRemove
func goRemove(user C.uintptr_t, _ *C.vmb_job, key *C.char, slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		return cgo.Handle(user).Value().(Store).Remove(C.GoString(key))
	})
}

//export goExec
func goExec(user C.uintptr_t, _ *C.vmb_job, ns, pod, container *C.char, argv **C.char, argc C.size_t,
	out, errout *C.vmb_sink, exitCode *C.int32_t, slot **C.vmb_error) C.vmb_code {
	return guard(slot, func() error {
		command := make([]string, 0, int(argc))
		for _, word := range unsafe.Slice(argv, int(argc)) {
			command = append(command, C.GoString(word))
		}
		code, stdout, stderr, err := cgo.Handle(user).Value().(Exec).Run(C.GoString(ns),
			C.GoString(pod), C.GoString(container), command)
		if err != nil {
			return err
		}
		*exitCode = C.int32_t(code)
		if err := write(out, stdout); err != nil {
			return err
		}
		return write(errout, stderr)
	})
}

//export goEvent
func goEvent(user C.uintptr_t, event *C.vmb_event) {
	defer func() { _ = recover() }() // nothing may unwind through C
	cgo.Handle(user).Value().(func(Event))(Event{
		Kind:    int(C.vmb_event_kind(event)),
		Subject: C.GoString(C.vmb_event_subject(event)),
		Text:    C.GoString(C.vmb_event_text(event)),
		Done:    int64(C.vmb_event_done(event)),
		Total:   int64(C.vmb_event_total(event)),
	})
}

//export goData
func goData(user C.uintptr_t, data unsafe.Pointer, size C.size_t) C.vmb_code {
	target := cgo.Handle(user).Value().(*[]byte)
	*target = append(*target, unsafe.Slice((*byte)(data), int(size))...)
	return C.VMB_OK
}
