// SPDX-License-Identifier: Apache-2.0

// Times apimachinery's label selectors on the cases of ../cases.json, in the output format of
// ../bench.c: from a ready map ("kv") and from the bytes of the JSON object ("json").
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/labels"
)

const (
	rounds = 9
	round  = 200 * time.Millisecond
	batch  = 5000
)

type cases struct {
	Selectors []struct{ Name, Text string }
	Labels    []labels.Set
}

// cpu is the processor time of this program so far, the collector's included.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// median processor time of one match; match runs all label sets once and returns the hits.
func median(sets int, match func() int) float64 {
	ns := make([]float64, rounds)
	for r := range ns {
		start, done := cpu(), 0
		for cpu()-start < round {
			for range batch / 10 {
				match()
			}
			done += batch / 10 * sets
		}
		ns[r] = float64((cpu() - start).Nanoseconds()) / float64(done)
	}
	sort.Float64s(ns)
	return ns[rounds/2]
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var c cases
	if err := json.Unmarshal(text, &c); err != nil {
		panic(err)
	}
	raw := make([][]byte, len(c.Labels))
	for i, set := range c.Labels {
		if raw[i], err = json.Marshal(set); err != nil {
			panic(err)
		}
	}
	for _, s := range c.Selectors {
		sel, err := labels.Parse(s.Text)
		if err != nil {
			panic(err)
		}
		fromMap := func() (hits int) {
			for _, set := range c.Labels {
				if sel.Matches(set) {
					hits++
				}
			}
			return hits
		}
		fromJSON := func() (hits int) {
			for _, bytes := range raw {
				var set labels.Set
				if json.Unmarshal(bytes, &set) == nil && sel.Matches(set) {
					hits++
				}
			}
			return hits
		}
		fmt.Printf("%s\tkv\t%.2f\t%d\n", s.Name, median(len(c.Labels), fromMap), fromMap())
		fmt.Printf("%s\tjson\t%.2f\t%d\n", s.Name, median(len(c.Labels), fromJSON), fromJSON())
	}
}
