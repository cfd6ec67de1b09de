package loadertest

import (
	"errors"
	"fmt"
	"strings"
)

// Row is a scenario with what came of it under each loader, in the loaders' order.
type Row struct {
	Scenario string
	Cells    []string
}

// Play runs one scenario for one loader. A scenario that cannot be played here gives "not played".
func Play(c Scenario, s *Stage) (string, error) {
	cell, err := c.Run(s)
	if errors.Is(err, errSkipped) {
		return errSkipped.Error(), nil
	}
	return cell, err
}

// Markdown is the table of rows.
func Markdown(loaders []Loader, rows []Row) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, l := range loaders {
		fmt.Fprintf(&b, " %s |", l.Name())
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(loaders)) + "\n")
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s | %s |\n", r.Scenario, strings.Join(r.Cells, " | "))
	}
	return b.String()
}

// Loaders are all re-enactments.
func Loaders() []Loader {
	return []Loader{
		SystemdBootOld{},
		SystemdBootNew{},
		GRUB{},
		Limine{},
		Limine{Pads: true},
		Lanzaboote{},
	}
}
