package main

import (
	"bufio"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
)

// speed times what it is told: each line is "MILLISECONDS EXPRESSION"; the answer is nanoseconds
// and heap allocations per evaluation, with the first set of variables. The program is the fastest
// that cel-go makes: checked and optimised, values converted once.
func (j *judge) speed(out *bufio.Writer) error {
	activation, err := cel.NewActivation(j.vars[0])
	if err != nil {
		return err
	}
	for {
		text, err := j.line()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		milliseconds, expression, _ := strings.Cut(text, " ")
		limit, err := strconv.Atoi(milliseconds)
		if err != nil {
			return err
		}
		checked, issues := j.env.Compile(expression)
		if issues.Err() != nil {
			return issues.Err()
		}
		program, err := j.env.Program(checked, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			return err
		}
		nanoseconds, allocations, err := measure(program, activation, time.Duration(limit)*time.Millisecond)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%.1f %.1f\n", nanoseconds, allocations)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

func measure(program cel.Program, activation cel.Activation, limit time.Duration) (float64, float64, error) {
	var before, after runtime.MemStats
	const round = 1000

	runtime.ReadMemStats(&before)
	start, count := time.Now(), 0
	for time.Since(start) < limit {
		for i := 0; i < round; i++ {
			value, _, err := program.Eval(activation)
			if err != nil {
				return 0, 0, err
			}
			if value.Value() != true {
				return 0, 0, fmt.Errorf("evaluates to %v", value.Value())
			}
		}
		count += round
	}
	taken := time.Since(start)
	runtime.ReadMemStats(&after)
	return float64(taken.Nanoseconds()) / float64(count),
		float64(after.Mallocs-before.Mallocs) / float64(count), nil
}
