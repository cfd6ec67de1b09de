package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// event is a line of go test -json.
type event struct {
	Action, Package, Test, Output string
	ImportPath                    string // of what does not build
	Elapsed                       float64
}

// id is a test of a package.
type id struct{ pkg, test string }

// reader follows the events of one run of go test.
type reader struct {
	suite  *suite
	cases  bool
	events io.Writer
	total  int // packages

	done    int
	output  map[id]*strings.Builder // of what did not pass yet
	running []string                // packages or, where cases are shown, tests
	took    map[string]string       // verdict and seconds of cases
	last    time.Time               // when something was printed
}

// follow runs the command and reads to its end. It is quiet for at most a quarter of a minute.
func (r *reader) follow(cmd *exec.Cmd) error {
	r.output, r.took, r.last = map[id]*strings.Builder{}, map[string]string{}, time.Now()
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var fault error
	for open := true; open; {
		select {
		case line, more := <-lines:
			if open = more; more {
				fault = errors.Join(fault, r.line(line))
			}
		case <-tick.C:
			if time.Since(r.last) > 15*time.Second {
				r.sayf("... %s", r.now())
			}
		}
	}
	return errors.Join(fault, cmd.Wait())
}

func (r *reader) sayf(format string, args ...any) {
	r.last = time.Now()
	r.suite.sayf(format, args...)
}

// now says what runs, or that the compiler does.
func (r *reader) now() string {
	elapsed := fmt.Sprintf("%d s", seconds(r.suite.start))
	if len(r.running) == 0 {
		return elapsed + ": compiling"
	}
	return elapsed + ": " + strings.Join(r.running, ", ")
}

func (r *reader) line(line string) error {
	var e event
	if !strings.HasPrefix(line, "{") {
		r.sayf("%s", strings.TrimSuffix(line, "\n"))
		return nil
	}
	if err := json.Unmarshal([]byte(line), &e); err != nil {
		return fmt.Errorf("event of go test: %w", err)
	}
	_, err := io.WriteString(r.events, line)
	key, shown := id{e.Package, e.Test}, r.name(e)
	switch e.Action {
	case "build-output":
		r.sayf("%s", strings.TrimSuffix(e.Output, "\n"))
	case "output":
		if r.output[key] == nil {
			r.output[key] = &strings.Builder{}
		}
		r.output[key].WriteString(e.Output)
	case "start", "run":
		if shown != "" {
			r.running = append(r.running, shown)
		}
	case "pass", "fail", "skip":
		if i := slices.Index(r.running, shown); i >= 0 {
			r.running = slices.Delete(r.running, i, i+1)
		}
		r.ended(e, key, shown)
	}
	return err
}

// name is what stands for the event in the progress: a package or, where cases are shown, a test.
func (r *reader) name(e event) string {
	switch {
	case !r.cases && e.Test == "":
		_, short, _ := strings.Cut(e.Package, "/sops-initrd/sops-initrd/")
		return short
	case r.cases && e.Test != "" && !strings.Contains(e.Test, "/"):
		return e.Test
	}
	return ""
}

func (r *reader) ended(e event, key id, shown string) {
	s := r.suite
	switch {
	case e.Test == "":
		r.done++
		if e.Action == "fail" && !r.told(e.Package) {
			s.failed++ // it does not compile, or ended outside a test
			r.sayf("%s", text(r.output[key]))
		}
	case e.Action == "pass":
		s.passed++
	case e.Action == "skip":
		s.skipped++
		reason := skipReason(text(r.output[key]))
		s.reasons[reason]++
		if s.allow != nil && !s.allow.MatchString(reason) {
			s.unwanted = append(s.unwanted, e.Package+" "+e.Test+": "+reason)
		}
	default:
		s.failed++
		r.sayf("FAILED %s %s\n%s", e.Package, e.Test, text(r.output[key]))
	}
	if shown != "" {
		count := fmt.Sprintf("package %d of %d, ", r.done, r.total)
		if r.cases {
			count = ""
		}
		r.sayf("[%s%d s] %-4s %s (%.1f s)", count, seconds(s.start), e.Action, shown, e.Elapsed)
	}
	if level := strings.Count(e.Test, "/"); e.Test != "" && level < 2 {
		verdict := ""
		if e.Action != "pass" {
			verdict = " (" + e.Action + ")"
		}
		r.took[strings.ReplaceAll(e.Test, "_", " ")+verdict] = fmt.Sprintf("%7.1f", e.Elapsed)
	}
	if e.Action == "pass" {
		delete(r.output, key)
	}
}

// told tells whether a test of the package has failed, with its output shown.
func (r *reader) told(pkg string) bool {
	for key, out := range r.output {
		if key.pkg == pkg && key.test != "" && strings.Contains(out.String(), "--- FAIL") {
			return true
		}
	}
	return false
}

func text(b *strings.Builder) string {
	if b == nil {
		return ""
	}
	return b.String()
}

var place = regexp.MustCompile(`^\s*[\w.]+\.go:\d+: `)

// skipReason is what a test said last before it was skipped.
func skipReason(output string) string {
	reason := "no reason given"
	for line := range strings.Lines(output) {
		if at := place.FindString(line); at != "" {
			reason = strings.TrimSpace(line[len(at):])
		}
	}
	return reason
}

// table lists the seconds that each case took, where cases are shown: a test, or the first level
// of its parts.
func (r *reader) table() {
	if !r.cases {
		return
	}
	r.sayf("\nseconds  case")
	for _, name := range slices.Sorted(maps.Keys(r.took)) {
		r.sayf("%s  %s", r.took[name], name)
	}
}

func keys(m map[string]int) iter.Seq[string] { return maps.Keys(m) }
