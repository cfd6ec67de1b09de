package main

import (
	"fmt"
	"io"
)

// find returns the row of a tool in a case.
func find(results []result, name, tool string) (row, bool) {
	for _, r := range results {
		if r.Name != name {
			continue
		}
		for _, row := range r.Rows {
			if row.Tool == tool && (len(row.Runs) > 0 || row.TooLong > 0) {
				return row, true
			}
		}
	}
	return row{}, false
}

// aim is something that this project wants to hold.
type aim struct {
	what string
	most float64
	// measure returns the figure; ok is false where the cases for it were not measured.
	measure func([]result) (figure float64, ok bool)
}

// against is a ratio to another tool in a case, no more than most.
func against(name, tool, what string, most float64, of func(ours, theirs row) float64) aim {
	return aim{what, most, func(results []result) (float64, bool) {
		ours, ok := find(results, name, rowSlim)
		theirs, okToo := find(results, name, tool)
		if !ok || !okToo {
			return 0, false
		}
		return of(ours, theirs), true
	}}
}

// wallRatio is the ratio of wall times. Of a tool that was stopped the time limit counts, which
// flatters it.
func wallRatio(ours, theirs row) float64 {
	if theirs.TooLong > 0 {
		return ours.median(wall) / theirs.TooLong.Seconds()
	}
	return ours.ratio(theirs, wall)
}

func peakRatio(ours, theirs row) float64 {
	return float64(ours.Account.Peak) / float64(theirs.Account.Peak)
}

// own is a figure of this project's row in a case.
func own(name, what string, most float64, of func(row) float64) aim {
	return aim{what, most, func(results []result) (float64, bool) {
		r, ok := find(results, name, rowSlim)
		if !ok {
			return 0, false
		}
		return of(r), true
	}}
}

// between is the ratio of a figure of this project in one case to the same in another, divided by
// how much more is done.
func between(name, other, what string, most float64, of func(row) float64, more float64) aim {
	return aim{what, most, func(results []result) (float64, bool) {
		r, ok := find(results, name, rowSlim)
		o, okToo := find(results, other, rowSlim)
		if !ok || !okToo {
			return 0, false
		}
		return of(r) / of(o) / more, true
	}}
}

func aims() []aim {
	programs := func(r row) float64 { return float64(r.Account.Programs) }
	written := func(
		r row,
	) float64 {
		return r.median(func(c cost) float64 { return float64(c.Written) })
	}
	read := func(r row) float64 { return r.median(func(c cost) float64 { return float64(c.Read) }) }
	time := func(r row) float64 { return r.median(wall) }
	const mebi = 1 << 20
	return []aim{
		against("age-1", rowAgainst, "1 secret: wall time, of BENCH_AGAINST's", 0.5, wallRatio),
		against("age-200", rowAgainst, "200 secrets of one file: wall time, of BENCH_AGAINST's", 0.02,
			wallRatio),
		against("age-1000", rowAgainst, "1000 secrets of one file: wall time, of BENCH_AGAINST's", 0.002,
			wallRatio),
		against("pgp-20", rowAgainst, "20 PGP files: wall time, of BENCH_AGAINST's", 0.15, wallRatio),
		own("pgp-20", "20 PGP files: programs started", 0, programs),
		between("age-5000", "age-200", "time for each of 5000 secrets, in times of that for each of 200",
			1, time, 5000./200),
		against("age-1", rowAgainst, "1 secret: peak memory, of BENCH_AGAINST's", 0.5, peakRatio),
		against("age-200", rowAgainst, "200 secrets: peak memory, of BENCH_AGAINST's", 0.5, peakRatio),
		against("age-1000", rowAgainst, "1000 secrets: peak memory, of BENCH_AGAINST's", 0.5, peakRatio),
		against("append-60M-new", rowAppender, "append to a new file: wall time, of the appender's", 0.1,
			wallRatio),
		own("append-60M-unchanged", "unchanged image of 60 MB: bytes written", 0, written),
		own("append-1G-unchanged", "unchanged image of 1 GB: bytes written", 0, written),
		own("append-1G-unchanged", "unchanged image of 1 GB: MiB read", 1,
			func(r row) float64 { return read(r) / mebi }),
		between("append-1G-unchanged", "append-60M-unchanged",
			"unchanged image of 1 GB: wall time, of that of 60 MB", 1.2, time, 1),
		own("append-60M-changed", "changed image of 60 MB: copies of it written", 1.01,
			func(r row) float64 { return written(r) / 60e6 }),
		own("append-60M-changed", "changed image of 60 MB: copies of it read", 1.05,
			func(r row) float64 { return read(r) / 60e6 }),
		own("append-1G-changed", "changed image of 1 GB: copies of it read", 1.05,
			func(r row) float64 { return read(r) / 1e9 }),
		own("append-1G-changed", "changed image of 1 GB: copies of it written", 1.01,
			func(r row) float64 { return written(r) / 1e9 }),
	}
}

// writeAims writes which aims are held.
func writeAims(w io.Writer, results []result) {
	fmt.Fprintln(w, "\n| aim | at most | measured | |\n|---|--:|--:|---|")
	for _, a := range aims() {
		got, ok := a.measure(results)
		switch {
		case !ok:
			continue
		case got <= a.most:
			fmt.Fprintf(w, "| %s | %v | %.3g | held |\n", a.what, a.most, got)
		default:
			fmt.Fprintf(w, "| %s | %v | %.3g | **missed** |\n", a.what, a.most, got)
		}
	}
}
