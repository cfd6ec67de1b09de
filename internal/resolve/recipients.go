package resolve

import (
	"fmt"
	"strings"

	"sops-initrd/internal/cli"
	"sops-initrd/internal/recipient"
	"sops-initrd/internal/sopsfile"
)

// CheckRecipients looks, without any key, for sops files that are encrypted for none of the hosts' keys, and joins them. Of a
// file with several key groups, which needs a key of more than one, one group is enough here. Files that cannot be read are
// left to [Check].
func CheckRecipients(req Request, hosts []recipient.Key) error {
	var all faults
	for _, f := range group(req.Secrets) {
		opened, err := sopsfile.Open(f.path, f.format)
		if err != nil {
			continue
		}
		if recipients := opened.Recipients(); !amongAny(hosts, recipients) {
			var names []string
			for _, r := range recipients {
				names = append(names, r.Name())
			}
			all.add(cli.WithHint(
				fmt.Errorf("%s, of %s: not encrypted for this host (but for %s)", f.path, list(f.names()), strings.Join(names, ", ")),
				"add the host to the rule of the file in .sops.yaml, and run: sops updatekeys FILE",
			))
		}
	}
	return all.err()
}

func amongAny(hosts []recipient.Key, recipients []sopsfile.Recipient) bool {
	for _, h := range hosts {
		if h.Among(recipients) {
			return true
		}
	}
	return false
}
