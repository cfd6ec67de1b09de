package main

// tool is one way to do the work of a case.
type tool struct {
	name    string
	command command
	// reset brings back what was before a run; it is not measured. It may be nil.
	reset func() error
	// check says whether the run did the work. It may be nil.
	check func() error
}

// benchCase is work that several tools can do. The first tool is this project's slim program; the
// others are measured against it.
type benchCase struct {
	name  string // short, for rows and the command line
	about string // what is done
	tools func() ([]tool, error)
	long  bool // it takes a minute or more, with slow tools beside ours
}

// programs are the programs that are measured.
type programs struct {
	slim, full string // directories
	against    string // another sops-install-secrets, or empty
}

// installers are the programs that install a manifest, by the name of their row.
func (p programs) installers() []installer {
	all := p.own()
	if p.against != "" {
		all = append(all, installer{rowAgainst, p.against})
	}
	return all
}

// own are those of this project.
func (p programs) own() []installer {
	return []installer{
		{rowSlim, p.slim + "/sops-install-secrets"},
		{rowFull, p.full + "/sops-install-secrets"},
	}
}

type installer struct{ row, program string }

// The names of rows.
const (
	rowSlim     = "this project"
	rowFull     = "this project, full build"
	rowAgainst  = "BENCH_AGAINST"
	rowLoop     = "sops in a loop"
	rowSOPS     = "sops"
	rowGPG      = "gpg, data keys only"
	rowAppender = "stock-shaped appender"
	rowReplace  = "the same on a copy, synced, renamed"
)
