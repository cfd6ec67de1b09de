package main

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// How much time a run of everything may take, so that it ends within twenty minutes.
const (
	// toolBudget is the time, of runs with all that belongs to them, after which a tool gets no more
	// turns in a case.
	toolBudget = 10 * time.Second
	// caseBudget is the same for all tools of a case together. Every tool has one turn, however long
	// it takes.
	caseBudget = 40 * time.Second
	// defaultTime is how long after the start no case is begun any more, and a begun one has no
	// further turns.
	defaultTime = 15 * time.Minute
)

// result is what came of a case.
type result struct {
	Name, About string
	Measured    time.Time
	Rows        []row
}

// row is one tool in a case.
type row struct {
	Tool    string
	Runs    []cost // one for each turn the tool took part in, from the first on
	Account account
	TooLong time.Duration // not 0: it was stopped after this time, and nothing else is known
}

func (r row) median(of func(cost) float64) float64 {
	var all []float64
	for _, c := range r.Runs {
		all = append(all, of(c))
	}
	return median(all)
}

// ratio is the median, over the turns that both took part in, of the quotient of a figure of r and
// the same of other.
func (r row) ratio(other row, of func(cost) float64) float64 {
	var all []float64
	for i := range min(len(r.Runs), len(other.Runs)) {
		all = append(all, of(r.Runs[i])/of(other.Runs[i]))
	}
	return median(all)
}

func wall(c cost) float64 { return c.Wall.Seconds() }
func cpu(c cost) float64  { return c.CPU.Seconds() }

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	middle := len(all) / 2
	if len(all)%2 == 1 {
		return all[middle]
	}
	return (all[middle-1] + all[middle]) / 2
}

// measure lets the tools of a case take turns. Their order changes from turn to turn, so that none
// always comes after the same one.
func (b *bench) measure(c benchCase) (result, error) {
	tools, err := c.tools()
	if err != nil {
		return result{}, err
	}
	begin := time.Now()
	rows, spent := make([]row, len(tools)), make([]time.Duration, len(tools))
	for i, t := range tools {
		if time.Now().After(b.deadline) {
			return result{}, errOver
		}
		rows[i].Tool = t.name
		b.tell("%s: %s", c.name, t.name)
		// This run also fills caches and makes the first generation.
		if rows[i].Account, err = b.count(t); errors.Is(err, errTooLong) {
			rows[i].TooLong = b.limit
		} else if err != nil {
			return result{}, err
		}
	}
	for turn := range b.runs {
		for j := range tools {
			i := (turn + j) % len(tools)
			over := turn > 0 && (spent[i] >= toolBudget || time.Since(begin) >= caseBudget ||
				time.Now().After(b.deadline))
			if rows[i].TooLong > 0 || over {
				continue
			}
			start := time.Now()
			took, err := b.once(tools[i])
			if errors.Is(err, errTooLong) {
				rows[i].TooLong = b.limit
				continue
			}
			if err != nil {
				return result{}, err
			}
			rows[i].Runs = append(rows[i].Runs, took)
			spent[i] += time.Since(start)
		}
	}
	return result{c.name, c.about, time.Now().UTC().Truncate(time.Second), rows}, nil
}

// errOver is why a case has no new result.
var errOver = errors.New("not measured: the time is over")

// once measures one run.
func (b *bench) once(t tool) (took cost, err error) {
	err = t.around(func() (err error) {
		took, err = t.command.run(b.limit)
		return err
	})
	return took, err
}

// count takes the figures of a run that cannot be had while its time is taken.
func (b *bench) count(t tool) (a account, err error) {
	err = t.around(func() (err error) {
		a, err = t.command.account(runDir, b.limit)
		return err
	})
	return a, err
}

// around runs a tool between its reset and its check.
func (t tool) around(run func() error) error {
	if t.reset != nil {
		if err := t.reset(); err != nil {
			return fmt.Errorf("before %s: %w", t.name, err)
		}
	}
	if err := run(); err != nil {
		return err
	}
	if t.check != nil {
		if err := t.check(); err != nil {
			return fmt.Errorf("%s did not do what it should: %w", t.name, err)
		}
	}
	return nil
}
