package vm

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
)

// The log that QEMU's blklogwrites driver writes (and Linux's dm-log-writes defines): a sector with the superblock, then for
// each operation a sector with its header, followed by the data of a write.
const (
	logMagic   = 0x6a736677736872
	logVersion = 1
	logSector  = 512
	flagFlush  = 1
)

// LoggedDisk returns the arguments that give a machine the raw disk image file as a virtio disk with a serial number that the
// guest can tell it by, and have every write and flush of the guest recorded in log.
func LoggedDisk(serial, file, log string) []string {
	escape := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	return []string{
		"-blockdev", "node-name=f" + serial + ",driver=file,filename=" + escape(file),
		"-blockdev", "node-name=l" + serial + ",driver=file,filename=" + escape(log),
		"-blockdev", fmt.Sprintf("driver=blklogwrites,node-name=b%s,file=f%s,log=l%s,log-sector-size=%d", serial, serial, serial, logSector),
		"-device", "virtio-blk-pci,drive=b" + serial + ",serial=" + serial,
	}
}

// Write is one write of a guest.
type Write struct {
	Offset int64
	Data   []byte
}

// Epoch is what a guest wrote between two flushes. At a power cut any part of it may have reached the disk, in any order;
// when the next one begins, all of it has.
type Epoch []Write

// ReadLog reads the log of a LoggedDisk.
func ReadLog(file string) ([]Epoch, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var super struct {
		Magic, Version, Entries uint64
		SectorSize              uint32
	}
	r := bytes.NewReader(data)
	if err := binary.Read(r, binary.LittleEndian, &super); err != nil {
		return nil, err
	}
	if super.Magic != logMagic || super.Version != logVersion || super.SectorSize != logSector {
		return nil, fmt.Errorf("log %s: not a log of writes: %+v", file, super)
	}
	epochs := []Epoch{nil}
	for at, i := int64(logSector), uint64(0); i < super.Entries; i++ {
		var header struct{ Sector, Sectors, Flags, DataLen uint64 }
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return nil, err
		}
		if err := binary.Read(r, binary.LittleEndian, &header); err != nil {
			return nil, fmt.Errorf("log %s: entry %d: %w", file, i, err)
		}
		// Forced writes (a virtio disk has none) and discards (nobody asks for them here) would need rules of their own.
		if header.Flags&^flagFlush != 0 {
			return nil, fmt.Errorf("log %s: entry %d: flags %#x are not replayed", file, i, header.Flags)
		}
		at += logSector
		if header.Flags&flagFlush != 0 {
			epochs = append(epochs, nil)
		}
		if header.Sectors == 0 {
			continue
		}
		length := int64(header.Sectors) * logSector
		if at+length > int64(len(data)) {
			return nil, fmt.Errorf("log %s: entry %d: cut off", file, i)
		}
		last := len(epochs) - 1
		epochs[last] = append(epochs[last], Write{int64(header.Sector) * logSector, data[at : at+length]})
		at += length
	}
	return epochs, nil
}

// Replay calls judge with every state that a power cut could have left on the disk of which before is the content at the
// beginning: after each prefix of the writes, and, for each epoch, for samples of its parts, some writes in them cut short
// at a sector. file holds the state during the call; final says that all flushes had been done.
func Replay(before []byte, epochs []Epoch, samples int, random *rand.Rand, file string, judge func(final bool) error) error {
	disk := bytes.Clone(before)
	if err := os.WriteFile(file, disk, 0o600); err != nil {
		return err
	}
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	put := func(writes []Write) error {
		for _, w := range writes {
			if _, err := f.WriteAt(w.Data, w.Offset); err != nil {
				return err
			}
		}
		return nil
	}
	for i, epoch := range epochs {
		final := i == len(epochs)-1
		for range samples * min(len(epoch), 1) {
			part := epoch.sample(random)
			if err := put(part); err != nil {
				return err
			}
			if err := judge(final); err != nil {
				return err
			}
			// Back to the beginning of the epoch.
			for _, w := range part {
				if _, err := f.WriteAt(disk[w.Offset:w.Offset+int64(len(w.Data))], w.Offset); err != nil {
					return err
				}
			}
		}
		if err := judge(final); err != nil {
			return err
		}
		for _, w := range epoch {
			if err := put([]Write{w}); err != nil {
				return err
			}
			copy(disk[w.Offset:], w.Data)
			if err := judge(final); err != nil {
				return err
			}
		}
	}
	return nil
}

// sample picks a random part of the epoch, with a write cut short now and then. Two writes to one place stay in order: the
// kernel does not have both under way at once.
func (e Epoch) sample(random *rand.Rand) []Write {
	var part []Write
	share := random.Float64()
	for _, w := range e {
		if random.Float64() >= share {
			continue
		}
		if sectors := len(w.Data) / logSector; sectors > 1 && random.IntN(4) == 0 {
			w.Data = w.Data[:random.IntN(sectors)*logSector]
		}
		part = append(part, w)
	}
	return part
}
