// SPDX-License-Identifier: Apache-2.0

package sensitive_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/go-logr/logr/funcr"

	"github.com/oauth-operator/oauth-operator/internal/sensitive"
)

const canary = "canary-7f3a9"

type holder struct {
	Exported sensitive.String
	hidden   sensitive.String
	pointer  *sensitive.String
	list     []sensitive.String
	byName   map[string]sensitive.String
}

func newHolder() holder {
	value := sensitive.New(canary)
	return holder{
		Exported: value, hidden: value, pointer: &value,
		list: []sensitive.String{value}, byName: map[string]sensitive.String{"k": value},
	}
}

func TestNeverPrinted(t *testing.T) {
	value := sensitive.New(canary)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%p", "%T", "% x", "%10s", "%-3v", "%c", "%U", "%e"} {
		for name, subject := range map[string]any{
			"value": value, "pointer": &value, "holder": newHolder(), "pointer to holder": &holder{Exported: value, hidden: value},
		} {
			if printed := fmt.Sprintf(verb, subject); leaks(printed) {
				t.Errorf("%s of a %s leaks: %s", verb, name, printed)
			}
		}
	}
	if printed := fmt.Sprint(errors.New(value.String()), value); leaks(printed) || !strings.Contains(printed, sensitive.Redacted) {
		t.Errorf("Sprint gives %q", printed)
	}
}

func TestNeverEncoded(t *testing.T) {
	var structured, logged bytes.Buffer
	slog.New(slog.NewJSONHandler(&structured, nil)).Info("m", "value", sensitive.New(canary), "holder", newHolder())
	slog.New(slog.NewTextHandler(&structured, nil)).Info("m", "value", sensitive.New(canary), "holder", newHolder())
	funcr.New(func(prefix, args string) { logged.WriteString(prefix + args) }, funcr.Options{}).
		Info("m", "value", sensitive.New(canary), "holder", newHolder())
	asJSON, err := json.Marshal(newHolder())
	if err != nil {
		t.Fatal(err)
	}
	asXML, err := xml.Marshal(sensitive.New(canary))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"slog": structured.String(), "logr": logged.String(), "JSON": string(asJSON), "XML": string(asXML),
	} {
		if leaks(text) || !strings.Contains(text, sensitive.Redacted) {
			t.Errorf("%s gives %s", name, text)
		}
	}
}

func leaks(text string) bool {
	return strings.Contains(text, canary) || strings.Contains(strings.ToLower(text), fmt.Sprintf("%x", canary))
}

func TestNotReadFromJSON(t *testing.T) {
	var read struct{ Token sensitive.String }
	if err := json.Unmarshal([]byte(`{"Token":"[redacted]"}`), &read); err == nil {
		t.Error("a redacted document was read back as a value")
	}
}

func TestEmpty(t *testing.T) {
	var zero sensitive.String
	encoded, err := json.Marshal(zero)
	if err != nil {
		t.Fatal(err)
	}
	if !zero.IsEmpty() || zero.Reveal() != "" || fmt.Sprint(zero) != "" || fmt.Sprintf("%q", zero) != `""` || string(encoded) != `""` {
		t.Errorf("empty prints %q, encodes as %s", fmt.Sprint(zero), encoded)
	}
	if !sensitive.New("").Equal(zero) {
		t.Error("New of nothing differs from the zero value")
	}
}

func TestEqualAndHash(t *testing.T) {
	a, same, other := sensitive.New("abc"), sensitive.New("abc"), sensitive.New("abd")
	if !a.Equal(same) || a.Equal(other) || a.Equal(sensitive.String{}) {
		t.Error("Equal does not compare the values")
	}
	if want := "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; a.Hash() != want {
		t.Errorf("Hash = %s, want %s (SHA-256 of abc)", a.Hash(), want)
	}
	if a.Reveal() != "abc" {
		t.Errorf("Reveal = %q", a.Reveal())
	}
}
