package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The markers around the part of a document that is written by this program.
const (
	beginMarker = "<!-- begin: written by make bench -->"
	endMarker   = "<!-- end: written by make bench -->"
)

// update puts a page between the markers of a document.
func update(path string, page []byte) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(old), beginMarker)
	_, after, foundEnd := strings.Cut(rest, endMarker)
	if !found || !foundEnd {
		return fmt.Errorf("update %s: it has no lines %q and %q", path, beginMarker, endMarker)
	}
	text := before + beginMarker + "\n" + string(page) + endMarker + after
	return os.WriteFile(path, []byte(text), 0o644)
}

// machine says on what the figures were measured.
func (b *bench) machine() string {
	var name unix.Utsname
	kernel := "Linux"
	if err := unix.Uname(&name); err == nil {
		kernel = "Linux " + unix.ByteSliceToString(name.Release[:])
	}
	processor := "unknown processor"
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(data); m != nil {
			processor = string(m[1])
		}
	}
	disk := "unknown file system"
	if out, err := exec.Command("stat", "-f", "-c", "%T", b.build).Output(); err == nil {
		disk = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, %d cores, %s, images on %s, %s, %s", processor, runtime.NumCPU(), kernel,
		disk, runtime.Version(),
		time.Now().UTC().Format("2 January 2006"))
}

// page is everything that was measured, as Markdown.
func (b *bench) page(results []result) ([]byte, error) {
	var page bytes.Buffer
	against := ""
	if b.against != "" {
		against = " BENCH_AGAINST=PROGRAM"
	}
	fmt.Fprintf(&page,
		"Written by `make bench UPDATE=1%s`, measured on %s. Medians of up to %d runs; × is the wall "+
			"time in times of this project's.\n",
		against, b.machine(), b.runs)
	writeAims(&page, results)
	if err := b.writeSizes(&page); err != nil {
		return nil, err
	}
	for _, r := range results {
		r.write(&page, b.start)
	}
	return page.Bytes(), nil
}

// write writes the table of a case. One that was not measured in the run that began at start says
// when it was.
func (r result) write(page *bytes.Buffer, start time.Time) {
	when := ""
	if r.Measured.Before(start.Truncate(time.Second)) {
		when = " (measured in another run, " + r.Measured.Format("2 January 2006 15:04") + " UTC)"
	}
	fmt.Fprintf(page, "\n**%s**: %s%s\n\n", r.Name, r.About, when)
	fmt.Fprintln(page,
		"| tool | wall ms | cpu ms | peak MiB | programs started | read KiB | written KiB | × | runs |")
	fmt.Fprintln(page, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	first := r.Rows[0]
	for _, row := range r.Rows {
		if row.TooLong > 0 {
			fmt.Fprintf(page, "| %s | > %.0f | | | | | | > %s | |\n", row.Tool,
				milliseconds(row.TooLong.Seconds()),
				figure(row.TooLong.Seconds()/first.median(wall)))
			continue
		}
		fmt.Fprintf(page, "| %s | %s | %s | %s | %d | %s | %s | %s | %d |\n", row.Tool,
			figure(milliseconds(row.median(wall))), figure(milliseconds(row.median(cpu))),
			figure(float64(row.Account.Peak)/(1<<20)),
			row.Account.Programs,
			figure(row.median(func(c cost) float64 { return float64(c.Read) / 1024 })),
			figure(row.median(func(c cost) float64 { return float64(c.Written) / 1024 })),
			figure(row.ratio(first, wall)), len(row.Runs))
	}
}

func milliseconds(seconds float64) float64 { return seconds * 1000 }

// figure writes a number with three significant digits or more.
func figure(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 1:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.0f", v)
	}
}

// writeSizes writes how large the programs are.
func (b *bench) writeSizes(w io.Writer) error {
	fmt.Fprintln(w, "\n| program | slim MB | full MB |\n|---|--:|--:|")
	names, err := filepath.Glob(filepath.Join(b.build, "slim", "bin", "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		slim, err := os.Stat(name)
		if err != nil {
			return err
		}
		full, err := os.Stat(filepath.Join(b.build, "full", filepath.Base(name)))
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %.1f | %.1f |\n", filepath.Base(name), float64(slim.Size())/1e6,
			float64(full.Size())/1e6)
	}
	if b.against == "" {
		return nil
	}
	against, err := os.Stat(b.against)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| %s | %.1f | |\n", rowAgainst, float64(against.Size())/1e6)
	return nil
}
