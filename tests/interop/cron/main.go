// SPDX-License-Identifier: Apache-2.0

// Answers "expression<TAB>unix seconds" lines with the next five times that robfig/cron finds after
// it, or with "error".
package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

func answer(expr string, after int64) (text string) {
	defer func() { // a zone without fields behind it makes the parser panic
		if recover() != nil {
			text = "error"
		}
	}()
	schedule, err := cron.ParseStandard(expr)
	if err != nil {
		return "error"
	}
	var times []string
	t := time.Unix(after, 0).UTC()
	for len(times) < 5 {
		t = schedule.Next(t)
		if t.IsZero() {
			times = append(times, "never")
			break
		}
		times = append(times, strconv.FormatInt(t.Unix(), 10))
	}
	return strings.Join(times, " ")
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		expr, after, _ := strings.Cut(in.Text(), "\t")
		n, err := strconv.ParseInt(after, 10, 64)
		if err != nil {
			panic(err)
		}
		fmt.Fprintln(out, answer(expr, n))
	}
}
