package main

import (
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// stream is what go test -json prints of a package with one test of each verdict, and of one that
// does not compile.
const stream = `{"Action":"start","Package":"m/sops-initrd/sops-initrd/a"}
{"Action":"run","Package":"m/sops-initrd/sops-initrd/a","Test":"TestGood"}
{"Action":"pass","Package":"m/sops-initrd/sops-initrd/a","Test":"TestGood","Elapsed":0.1}
{"Action":"run","Package":"m/sops-initrd/sops-initrd/a","Test":"TestRoot"}
{"Action":"output","Package":"m/sops-initrd/sops-initrd/a","Test":"TestRoot","Output":"    a_test.go:7: needs root\n"}
{"Action":"skip","Package":"m/sops-initrd/sops-initrd/a","Test":"TestRoot"}
{"Action":"run","Package":"m/sops-initrd/sops-initrd/a","Test":"TestBad"}
{"Action":"output","Package":"m/sops-initrd/sops-initrd/a","Test":"TestBad","Output":"    a_test.go:9: broken\n"}
{"Action":"output","Package":"m/sops-initrd/sops-initrd/a","Test":"TestBad","Output":"--- FAIL: TestBad\n"}
{"Action":"fail","Package":"m/sops-initrd/sops-initrd/a","Test":"TestBad"}
{"Action":"fail","Package":"m/sops-initrd/sops-initrd/a"}
{"ImportPath":"m/sops-initrd/sops-initrd/b","Action":"build-output","Output":"b.go:1: syntax error\n"}
{"ImportPath":"m/sops-initrd/sops-initrd/b","Action":"build-fail"}
{"Action":"start","Package":"m/sops-initrd/sops-initrd/b"}
{"Action":"output","Package":"m/sops-initrd/sops-initrd/b","Output":"FAIL m/b [build failed]\n"}
{"Action":"fail","Package":"m/sops-initrd/sops-initrd/b"}
`

func TestFollow_countsAndReasons(t *testing.T) {
	s := &suite{start: time.Now(), reasons: map[string]int{}}
	r := &reader{suite: s, events: io.Discard, total: 2}
	cmd := exec.Command("sh", "-c", `cat; exit 1`)
	cmd.Stdin = strings.NewReader(stream)
	if err := r.follow(cmd); err == nil {
		t.Error("exit status 1 is no error")
	}
	if s.passed != 1 || s.failed != 2 || s.skipped != 1 || s.reasons["needs root"] != 1 {
		t.Errorf("%d passed, %d failed, %d skipped, %v", s.passed, s.failed, s.skipped, s.reasons)
	}
	if len(r.running) > 0 {
		t.Errorf("still running: %q", r.running)
	}
}

func TestSkipReason(t *testing.T) {
	for output, want := range map[string]string{
		"=== RUN   TestA\n    a_test.go:12: needs root\n--- SKIP: TestA (0.00s)\n": "needs root",
		"    a_test.go:1: first\n        b_test.go:2: last: reason\n":              "last: reason",
		"--- SKIP: TestA (0.00s)\n":                                                "no reason given",
	} {
		if got := skipReason(output); got != want {
			t.Errorf("%q: %q, want %q", output, got, want)
		}
	}
}

func TestOutOfTime(t *testing.T) {
	const progress = "fuzz: elapsed: 6s, execs: 145572 (0/sec), new interesting: 30 (total: 37)\n"
	const end = "FAIL\nexit status 1\nFAIL\tm/seal\t6.013s\n"
	for output, want := range map[string]bool{
		progress + "--- FAIL: FuzzOpen (6.01s)\n    context deadline exceeded\n" + end: true,
		progress + "--- FAIL: FuzzOpen (6.01s)\n    --- FAIL: FuzzOpen (0.00s)\n" +
			"        context deadline exceeded\n    Failing input written to testdata/fuzz/x\n" + end: false,
		progress + "--- FAIL: FuzzOpen (6.01s)\n    fuzzing process hung or terminated\n" + end: false,
		progress + "ok  \tm/seal\t6.013s\n":                                                     false,
	} {
		if got := outOfTime([]byte(output)); got != want {
			t.Errorf("%q: %v, want %v", output, got, want)
		}
	}
}

func TestRun_refuses(t *testing.T) {
	for _, names := range [][]string{nil, {"unit", "nonsense"}} {
		s := &suite{dir: t.TempDir(), start: time.Now()}
		if err := s.run(t.Context(), names); err == nil {
			t.Errorf("%q: no error", names)
		}
	}
}
