package remotekey

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/getsops/sops/v3/azkv"
	"github.com/getsops/sops/v3/gcpkms"
	"github.com/getsops/sops/v3/hckms"
	"github.com/getsops/sops/v3/hcvault"
	"github.com/getsops/sops/v3/keys"
	"github.com/getsops/sops/v3/kms"
)

// message is a message of protocol buffers (https://protobuf.dev/programming-guides/encoding/). Of the format no more is here than
// the two messages of one call need, those of keyservice.proto of sops: to link its library takes time at every start, also where no key
// is in a cloud.
type message []byte

// lengthDelimited is the wire type of strings, bytes and messages.
const lengthDelimited = 2

// put adds a field.
func (m *message) put(number int, data []byte) {
	*m = binary.AppendUvarint(*m, uint64(number)<<3|lengthDelimited)
	*m = binary.AppendUvarint(*m, uint64(len(data)))
	*m = append(*m, data...)
}

// text adds a field of text; without text there is no field.
func (m *message) text(number int, s string) {
	if s != "" {
		m.put(number, []byte(s))
	}
}

// decryptRequest is the DecryptRequest for a master key.
func decryptRequest(key keys.MasterKey) (message, error) {
	var named, kind, request message
	number := 0 // in the choice of Key
	switch k := key.(type) {
	case *kms.MasterKey:
		number = 1
		named.text(1, k.Arn)
		named.text(2, k.Role)
		for _, name := range slices.Sorted(maps.Keys(k.EncryptionContext)) {
			var pair message
			pair.put(1, []byte(name))
			pair.put(2, []byte(*k.EncryptionContext[name]))
			named.put(3, pair)
		}
		named.text(4, k.AwsProfile)
	case *gcpkms.MasterKey:
		number = 3
		named.text(1, k.ResourceID)
	case *azkv.MasterKey:
		number = 4
		named.text(1, k.VaultURL)
		named.text(2, k.Name)
		named.text(3, k.Version)
	case *hcvault.MasterKey:
		number = 5
		named.text(1, k.VaultAddress)
		named.text(2, k.EnginePath)
		named.text(3, k.KeyName)
	case *hckms.MasterKey:
		number = 7
		named.text(1, k.KeyID)
	default:
		return nil, fmt.Errorf("a key of type %s is none that sops keyservice is asked for", key.TypeToIdentifier())
	}
	kind.put(number, named)
	request.put(1, kind)
	request.put(2, key.EncryptedDataKey())
	return request, nil
}

var errMessage = errors.New("sops keyservice answers in a form that is not understood")

// plaintext takes the data key out of a DecryptResponse. Fields that are not known are skipped, as the format wants it.
func (m message) plaintext() ([]byte, error) {
	var data []byte
	for len(m) > 0 {
		tag, n := binary.Uvarint(m)
		if n <= 0 {
			return nil, errMessage
		}
		m = m[n:]
		length, used := uint64(0), 0
		switch tag & 7 {
		case 0: // a number
			_, used = binary.Uvarint(m)
		case 1:
			length = 8
		case lengthDelimited:
			length, used = binary.Uvarint(m)
		case 5:
			length = 4
		default:
			return nil, errMessage
		}
		if used < 0 || used == 0 && (tag&7 == 0 || tag&7 == lengthDelimited) || length > uint64(len(m)-used) {
			return nil, errMessage
		}
		if tag == 1<<3|lengthDelimited {
			data = m[used : used+int(length)]
		}
		m = m[used+int(length):]
	}
	return data, nil
}
