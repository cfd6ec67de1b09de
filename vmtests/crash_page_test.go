package vmtests

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The tables of states in the documentation are made by the test that judges them, and compared
// with it in every run. UPDATE_SCRIPTS=1 and VMTESTS_ALL=1 write them.
const cutPage = "../docs/explanation/boot-safety.md"

// cutTables are the tables of the page: each begins behind a line with this comment, and takes the
// cases with such a prefix.
func cutTables() []struct {
	comment string
	has     func(name string) bool
} {
	prefixed := func(p string) func(
		string) bool {
		return func(n string) bool { return strings.HasPrefix(n, p) }
	}
	return []struct {
		comment string
		has     func(name string) bool
	}{
		{"<!-- states: install -->", func(n string) bool {
			return !strings.HasPrefix(n, "inplace-") && !strings.HasPrefix(n, "rename-") &&
				!strings.HasPrefix(n, "append-")
		}},
		{"<!-- states: in place -->", prefixed("inplace-")},
		{"<!-- states: rename -->", prefixed("rename-")},
		{"<!-- states: append -->", prefixed("append-")},
	}
}

const cutHeading = "| what is done | file system | states | old | new | torn | half | check | " +
	"lost |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n"

// columns are the verdicts in the order of the tables.
func columns() []string { return []string{"old", "new", "torn", "half", "check", "lost"} }

// whatIsDone is a case in words.
func whatIsDone(name string) string {
	return map[string]string{
		"first": "first segment", "shorter": "replace by a shorter one",
		"equal": "by an equally long one", "longer": "by a longer one",
		"unchanged": "nothing to change", "remove": "remove", "create": "make a new file",
		"two":           "two images in a row",
		"inplace-first": "first segment", "inplace-shorter": "replace by a shorter one",
		"inplace-equal":  "by an equally long one",
		"inplace-longer": "by a longer one", "inplace-remove": "remove",
		"rename-first": "first segment", "rename-longer": "replace by a longer one",
		"append-first": "first segment", "append-second": "a second one behind it",
	}[name]
}

// row is a line of a table: the states of each verdict, and of all.
func (d *crashDisk) row() string {
	counts := []string{strconv.Itoa(d.states)}
	for _, v := range columns() {
		counts = append(counts, strconv.Itoa(d.judged[v]))
	}
	return fmt.Sprintf("| %s | %s | %s |\n", whatIsDone(d.crashCase.name), d.system(),
		strings.Join(counts, " | "))
}

func (d *crashDisk) system() string {
	return strings.Replace(d.fileSystem.name, "vfat", "vfat, FAT", 1)
}

// comparePage compares what was judged with the page. Numbers of states differ between runs: more
// are judged in long ones, and the guest's kernel is free to write in other pieces, or earlier by
// itself. What never happened to an image of ours must not happen.
func comparePage(t *testing.T, disks []*crashDisk) {
	data, err := os.ReadFile(cutPage)
	if err != nil {
		t.Fatal(err)
	}
	page := string(data)
	for _, table := range cutTables() {
		from := strings.Index(page, table.comment+"\n")
		if from < 0 {
			t.Fatalf("%s has no line %s", cutPage, table.comment)
		}
		from += len(table.comment) + 1
		end := from + strings.Index(page[from:]+"\n\n", "\n\n") + 1
		rows := cutHeading
		for _, d := range disks {
			if !table.has(d.crashCase.name) {
				continue
			}
			rows += d.row()
			if !updatePages() {
				d.compareRow(t, page[from:end])
			}
		}
		if updatePages() {
			page = page[:from] + rows + page[end:]
		}
	}
	if updatePages() {
		if err := os.WriteFile(cutPage, []byte(page), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// updatePages needs the long cases, too: a page with less than all of them would be no page.
func updatePages() bool { return os.Getenv("UPDATE_SCRIPTS") == "1" && long() }

func (d *crashDisk) compareRow(t *testing.T, table string) {
	t.Helper()
	prefix := fmt.Sprintf("| %s | %s |", whatIsDone(d.crashCase.name), d.system())
	lines := strings.Split(table, "\n")
	i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) })
	if i < 0 {
		t.Errorf("%s has no row %q: UPDATE_SCRIPTS=1 VMTESTS_ALL=1 go test -run "+
			"TestPowerCut_imageIsOldOrNew ./vmtests", cutPage, prefix)
		return
	}
	cells := strings.Split(strings.Trim(lines[i], "| "), " | ")[3:]
	for i, v := range columns() {
		if n, err := strconv.Atoi(cells[i]); err != nil || !d.bad && n == 0 && d.judged[v] > 0 &&
			v != "old" && v != "new" {
			t.Errorf("%s: %d states are %q, and the page says %q", d.title(), d.judged[v], v, cells[i])
		}
	}
}
