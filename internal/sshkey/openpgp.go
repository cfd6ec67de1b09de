package sshkey

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// UserID names the owner of an OpenPGP key: Name (Comment) <Email>.
type UserID struct{ Name, Comment, Email string }

// Check says whether OpenPGP allows the user id.
func (id UserID) Check() error {
	_, err := id.packet()
	return err
}

func (id UserID) packet() (*packet.UserId, error) {
	uid := packet.NewUserId(id.Name, id.Comment, id.Email)
	if uid == nil {
		return nil, fmt.Errorf("user id with name %q, comment %q and email %q: the characters ( ) < > and NUL are not allowed", id.Name, id.Comment, id.Email)
	}
	return uid, nil
}

// OpenPGP is an RSA key as a transferable OpenPGP key (RFC 4880, 11.1 and 11.2) that signs and
// decrypts: with its private half, which is not encrypted, or without. All times in it are 0, and
// the signature has no random part, so that the same key and user id give the same bytes.
func (k *Private) OpenPGP(id UserID, private bool) ([]byte, error) {
	key, err := k.OpenPGPPrivateKey()
	if err != nil {
		return nil, err
	}
	uid, err := id.packet()
	if err != nil {
		return nil, err
	}
	primary := true
	binding := &packet.Signature{
		Version: 4, SigType: packet.SigTypePositiveCert, PubKeyAlgo: packet.PubKeyAlgoRSA, Hash: crypto.SHA256,
		CreationTime: creation(), IssuerKeyId: &key.KeyId, IsPrimaryId: &primary,
		FlagsValid: true, FlagCertify: true, FlagSign: true, FlagEncryptCommunications: true, FlagEncryptStorage: true,
	}
	random := false
	if err := binding.SignUserId(uid.Id, &key.PublicKey, key, &packet.Config{NonDeterministicSignaturesViaNotation: &random}); err != nil {
		return nil, errors.New("RSA key does not sign")
	}
	var out bytes.Buffer
	if private {
		err = key.Serialize(&out)
	} else {
		err = key.PublicKey.Serialize(&out)
	}
	if err := errors.Join(err, uid.Serialize(&out), binding.Serialize(&out)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// UnsignedOpenPGP is a public RSA key as an OpenPGP key whose user id nobody has signed, as only
// the private key could. It has the fingerprint of the signed one.
func (p Public) UnsignedOpenPGP(id UserID) ([]byte, error) {
	key := p.OpenPGPKey()
	if key == nil {
		return nil, fmt.Errorf("%s keys are not RSA keys", p.Type())
	}
	uid, err := id.packet()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := errors.Join(key.Serialize(&out), uid.Serialize(&out)); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
