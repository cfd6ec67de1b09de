package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"time"
)

// ErrTimeout is returned (wrapped) when a guest did not power off in time; systemd waiting at a
// prompt looks like this.
var ErrTimeout = errors.New("guest did not power off in time")

const (
	// DefaultTimeout is generous: software emulation on a busy machine is twenty times slower than on
	// an idle one.
	DefaultTimeout = 3 * time.Minute

	// timerPanic is a flake of software emulation under load, and the only failure that is tried
	// again. no_timer_check on the command line makes it rare.
	timerPanic = "IO-APIC + timer doesn't work!"

	// stopGrace is how long a killed emulator may take to hand back its pipes.
	stopGrace = 5 * time.Second
)

// Machine describes one guest. The zero value of every field but Kernel is usable.
type Machine struct {
	Kernel  Kernel
	Initrd  string        // path of the image; none when empty
	Append  string        // further kernel command line
	Args    []string      // further arguments of QEMU: disks, network, TPM
	Memory  int           // MiB; 256 when 0
	Timeout time.Duration // for one boot; DefaultTimeout when 0

	// Firmware boots from the disks in Args instead of Initrd: "bios" or "uefi" (OVMF). Kernel still
	// says which emulator.
	Firmware string

	// OnLine, when set, is called with each line of the console as it comes.
	OnLine func(line string)

	// Until, when set, ends the guest as soon as its console has this text, newline or not: for
	// prompts that wait for ever.
	Until string
}

// ovmfDir is where Debian's package ovmf has its firmware.
const ovmfDir = "/usr/share/OVMF/"

// Result is one RESULT line of a guest.
type Result struct {
	OK     bool
	Detail string
}

// Report is what a boot left behind.
type Report struct {
	Console string // all of the serial console, without carriage returns
	// by name; a name that came twice keeps its first failure, else its last line
	Results map[string]Result
	Done    bool // the guest's init came to its end
	Took    time.Duration
}

// Failed lists the names that the guest reported as failed, and every name of want that it did not
// report at all.
func (r *Report) Failed(want ...string) []string {
	var bad []string
	for name, res := range r.Results {
		if !res.OK {
			bad = append(bad, name+": "+res.Detail)
		}
	}
	for _, name := range want {
		if _, found := r.Results[name]; !found {
			bad = append(bad, name+": not reported")
		}
	}
	return bad
}

// Boot runs the machine until it powers off, is reset or its time is up. A report comes with every
// error too, as far as the guest got. The error says nothing about what the guest reported, only
// whether it ran: a guest that stopped before DONE (a panic, usually) is no error here, since many
// tests want exactly that.
func (m Machine) Boot(ctx context.Context) (*Report, error) {
	rep, err := m.bootOnce(ctx)
	if rep != nil && !rep.Done && strings.Contains(rep.Console, timerPanic) {
		return m.bootOnce(ctx)
	}
	return rep, err
}

func (m Machine) bootOnce(ctx context.Context) (*Report, error) {
	timeout := m.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	cmd := exec.CommandContext(ctx, m.Kernel.emulator(), m.arguments()...)
	cmd.WaitDelay = stopGrace
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	rep := m.read(out)
	reached := m.Until != "" && strings.Contains(rep.Console, m.Until)
	if reached {
		cancel()
	}
	err = cmd.Wait()
	rep.Took = time.Since(start)
	switch {
	case reached:
		return rep, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return rep, fmt.Errorf("boot %s: %w (%v)", m.Kernel.Version, ErrTimeout, timeout)
	case ctx.Err() != nil:
		return rep, ctx.Err()
	case err != nil:
		return rep, fmt.Errorf("boot %s: %w: %s", m.Kernel.Version, err,
			strings.TrimSpace(stderr.String()))
	}
	return rep, nil
}

func (m Machine) arguments() []string {
	memory := m.Memory
	if memory == 0 {
		memory = 256
	}
	args := append(m.Kernel.machine(),
		"-m", fmt.Sprint(memory), "-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot")
	switch m.Firmware {
	case "uefi":
		args = append(args,
			"-drive", "if=pflash,format=raw,unit=0,readonly=on,file="+ovmfDir+"OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,unit=1,snapshot=on,file="+ovmfDir+"OVMF_VARS_4M.fd")
	case "":
		args = append(args, "-kernel", m.Kernel.Image,
			"-append", strings.TrimSpace("console="+m.Kernel.console()+" no_timer_check panic=-1 "+m.Append))
		if m.Initrd != "" {
			args = append(args, "-initrd", m.Initrd)
		}
	}
	return append(args, m.Args...)
}

// A prompt without a newline may stand before a result: the name and the verdict are what counts.
var resultLine = regexp.MustCompile(`RESULT (\S+) (ok|fail)(?: (.*))?$`)

// read takes the console apart until it ends or has what the machine's Until asks for.
func (m Machine) read(console io.Reader) *Report {
	rep := &Report{Results: map[string]Result{}}
	var all, line strings.Builder
	finish := func() {
		text := strings.TrimRight(line.String(), "\r")
		line.Reset()
		rep.take(text)
		if m.OnLine != nil {
			m.OnLine(text)
		}
	}
	for r := bufio.NewReader(console); ; {
		c, err := r.ReadByte()
		if err != nil {
			finish()
			rep.Console = all.String()
			return rep
		}
		if c != '\r' {
			all.WriteByte(c)
		}
		if c == '\n' {
			finish()
		} else {
			line.WriteByte(c)
		}
		if m.Until != "" && strings.HasSuffix(line.String(), m.Until) {
			rep.Console = all.String()
			return rep
		}
	}
}

func (r *Report) take(line string) {
	if line == "DONE" {
		r.Done = true
		return
	}
	match := resultLine.FindStringSubmatch(line)
	if match == nil {
		return
	}
	if old, seen := r.Results[match[1]]; seen && !old.OK {
		return
	}
	r.Results[match[1]] = Result{OK: match[2] == "ok", Detail: match[3]}
}
