package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// quietRuntime makes runs of Go programs as alike as they can be: no garbage collector whose pace
// depends on the clock, no signals that stop goroutines, one thread that runs them.
var quietRuntime = []string{"GOGC=off", "GOMAXPROCS=1", "GODEBUG=asyncpreemptoff=1"}

// instructionRuns is how often instructions are counted: seeds of hash tables make them differ by a
// percent.
const instructionRuns = 5

// collected is callgrind's sum of executed instructions.
var collected = regexp.MustCompile(`(?m)^==\d+== Collected : (\d+)`)

// countInstructions counts the instructions that the first tool of every case executes, and prints
// them as Go benchmarks are, for benchstat. Other than time they can be compared on a machine that
// others use, too.
func (b *bench) countInstructions(w io.Writer, cases []benchCase) error {
	for _, c := range cases {
		if !b.match.MatchString(c.name) {
			continue
		}
		tools, err := c.tools()
		if err != nil {
			return err
		}
		ours := tools[0]
		if _, err := b.once(ours); err != nil {
			return fmt.Errorf("case %s: %w", c.name, err)
		}
		for range instructionRuns {
			var n int64
			err := ours.around(func() (err error) {
				n, err = ours.command.instructions(runDir)
				return err
			})
			if err != nil {
				return fmt.Errorf("case %s: %w", c.name, err)
			}
			if _, err := fmt.Fprintf(w, "BenchmarkProcess/%s 1 %d instructions\n", c.name, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// instructions runs the command under callgrind.
func (c command) instructions(dir string) (int64, error) {
	log := filepath.Join(dir, "callgrind.log")
	_, err := command{
		argv: append([]string{
			"valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
			"--log-file=" + log,
		}, c.argv...),
		env: append(quietRuntime, c.env...),
	}.run(defaultLimit)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return 0, err
	}
	match := collected.FindSubmatch(text)
	if match == nil {
		return 0, fmt.Errorf("callgrind of %s: no sum in its log", c.argv[0])
	}
	return strconv.ParseInt(string(match[1]), 10, 64)
}
