package resolve

import (
	"fmt"
	"strings"

	"github.com/sops-initrd/sops-initrd/internal/cli"
	"github.com/sops-initrd/sops-initrd/internal/recipient"
	"github.com/sops-initrd/sops-initrd/internal/sopsfile"
)

// CheckRecipients looks, without any key, for sops files that are encrypted for none of the
// hosts' keys, and joins them. A file with key groups has to name one of them in as many groups
// as are needed. Files that cannot be read are left to [Check].
func CheckRecipients(req Request, hosts []recipient.Key) error {
	var all faults
	files := req.files()
	for _, f := range group(req.Secrets) {
		opened, err := files.open(place{f.path, f.format})
		if err != nil || forHosts(opened, hosts) {
			continue
		}
		var names []string
		for _, r := range opened.Recipients() {
			names = append(names, r.Name())
		}
		name := sourceName(f.path)
		all.add(cli.WithHint(
			fmt.Errorf("%s, of %s: not encrypted for this host (but for %s)", f.path, list(f.names()),
				strings.Join(names, ", ")),
			fmt.Sprintf("add the host to the rule of %s in .sops.yaml, and run: sops updatekeys %s", name,
				name),
		))
	}
	return all.err()
}

// forHosts says whether the hosts' keys are in as many key groups of a file as are needed.
func forHosts(f *sopsfile.File, hosts []recipient.Key) bool {
	groups := make(map[int]bool)
	for _, r := range f.Recipients() {
		for _, h := range hosts {
			if h.Among([]sopsfile.Recipient{r}) {
				groups[r.Group] = true
			}
		}
	}
	_, needed := f.Groups()
	return len(groups) >= needed
}
