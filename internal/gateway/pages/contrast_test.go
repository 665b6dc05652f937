// SPDX-License-Identifier: Apache-2.0

package pages_test

import (
	"math"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/oauth-operator/oauth-operator/internal/gateway/pages"
)

// WCAG 2.2: 1.4.3 for text, 1.4.11 for signs and the outline of what has the focus.
const (
	contrastText = 4.5
	contrastSign = 3
)

// pairs of colours that lie on each other somewhere.
func pairs() map[[2]string]float64 {
	all := map[[2]string]float64{}
	add := func(least float64, back string, fronts ...string) {
		for _, front := range fronts {
			all[[2]string{front, back}] = least
		}
	}
	add(contrastText, "page", "text", "muted")
	add(contrastText, "card", "text", "muted", "info")
	add(contrastText, "code", "text", "muted")
	add(contrastText, "tile", "text")
	add(contrastText, "logo", "logo-text")
	add(contrastText, "button", "button-text")
	add(contrastText, "button-hover", "button-text")
	add(contrastText, "info-back", "text", "info")
	add(contrastText, "attention-back", "text", "attention")
	add(contrastText, "bad-back", "text", "bad")
	add(contrastSign, "card", "good", "attention", "bad", "outline", "button", "button-hover")
	return all
}

// ornaments are lines that tell nothing.
func ornaments() []string { return []string{"line", "info-line", "attention-line", "bad-line"} }

func stylesheet(t *testing.T) string {
	t.Helper()
	p := newPages(t, pages.Branding{})
	content := ask(t, p, http.MethodGet, linked(t, p)["stylesheet"]).Body.String()
	return regexp.MustCompile(`(?s)/\*.*?\*/`).ReplaceAllString(content, "")
}

// palettes returns the colours of both schemes, and the stylesheet without them.
func palettes(t *testing.T) (light, dark map[string]string, rest string) {
	t.Helper()
	rest = stylesheet(t)
	root := regexp.MustCompile(`(?s):root \{(.*?)\}`)
	blocks := root.FindAllStringSubmatch(rest, -1)
	if len(blocks) != 2 || strings.Index(rest, "prefers-color-scheme: dark") > root.FindAllStringIndex(rest, -1)[1][0] {
		t.Fatalf("%d palettes; one is expected, and then one for the dark", len(blocks))
	}
	colours := func(block string) map[string]string {
		found := map[string]string{}
		for _, match := range regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
			found[match[1]] = match[2]
		}
		return found
	}
	return colours(blocks[0][1]), colours(blocks[1][1]), root.ReplaceAllString(rest, "")
}

// luminance of #rrggbb, as WCAG defines it.
func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	value, err := strconv.ParseUint(strings.TrimPrefix(colour, "#"), 16, 32)
	if err != nil {
		t.Fatalf("%q is no colour", colour)
	}
	linear := func(shift uint) float64 {
		c := float64(value>>shift&0xff) / 255
		if c <= 0.04045 {
			return c / 12.92
		}
		return math.Pow((c+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(16) + 0.7152*linear(8) + 0.0722*linear(0)
}

func contrast(t *testing.T, a, b string) float64 {
	t.Helper()
	x, y := luminance(t, a), luminance(t, b)
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

func TestContrastIsComputedRightly(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want float64
	}{{"#000000", "#ffffff", 21}, {"#777777", "#ffffff", 4.48}, {"#ffffff", "#ffffff", 1}} {
		if got := contrast(t, test.a, test.b); math.Abs(got-test.want) > 0.005 {
			t.Errorf("%s on %s: got %.3f, want %.2f", test.a, test.b, got, test.want)
		}
	}
}

func TestContrast(t *testing.T) {
	light, dark, _ := palettes(t)
	for scheme, palette := range map[string]map[string]string{"light": light, "dark": dark} {
		used := ornaments()
		for pair, least := range pairs() {
			used = append(used, pair[0], pair[1])
			if got := contrast(t, palette[pair[0]], palette[pair[1]]); got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, pair[0], pair[1], got, least)
			}
		}
		for name := range palette {
			if !slices.Contains(used, name) {
				t.Errorf("%s: nobody has said what %s lies on", scheme, name)
			}
		}
	}
	for name := range light {
		if _, ok := dark[name]; !ok {
			t.Errorf("%s has no colour in the dark", name)
		}
	}
}

// TestColoursAreThePalettes : a colour that is written elsewhere, or used in a way that no pair knows, escapes TestContrast.
func TestColoursAreThePalettes(t *testing.T) {
	light, _, rest := palettes(t)
	if found := regexp.MustCompile(`#[0-9a-fA-F]{3,8}\b|\b(rgba?|hsla?|oklch|color-mix|light-dark)\(`).FindString(rest); found != "" {
		t.Errorf("a colour of its own: %s", found)
	}
	fronts, backs := map[string]bool{}, map[string]bool{}
	for pair := range pairs() {
		fronts[pair[0]], backs[pair[1]] = true, true
	}
	words := []string{"none", "currentColor", "transparent", "CanvasText", "ButtonText", "inherit"}
	for _, match := range regexp.MustCompile(`(?m)^\s*(color|background|outline|stroke|fill): ([^;]+);`).FindAllStringSubmatch(rest, -1) {
		for value := range strings.FieldsSeq(match[2]) {
			name := strings.TrimSuffix(strings.TrimPrefix(value, "var(--"), ")")
			switch {
			case slices.Contains(words, value) || match[1] == "outline" && !strings.HasPrefix(value, "var("):
			case name == value || light[name] == "":
				t.Errorf("%s is no colour of the palette", match[0])
			case match[1] == "background" && !backs[name], match[1] != "background" && !fronts[name]:
				t.Errorf("no pair knows of %s", strings.TrimSpace(match[0]))
			}
		}
	}
}

// TestRulesUseKnownPairs : where a rule sets both, they are a pair.
func TestRulesUseKnownPairs(t *testing.T) {
	_, _, rest := palettes(t)
	known, found := pairs(), 0
	front, back := regexp.MustCompile(`(?m)^\s*color: var\(--([a-z-]+)\);`), regexp.MustCompile(`(?m)^\s*background: var\(--([a-z-]+)\);`)
	for _, rule := range regexp.MustCompile(`\{[^{}]*\}`).FindAllString(rest, -1) {
		f, b := front.FindStringSubmatch(rule), back.FindStringSubmatch(rule)
		if f == nil || b == nil {
			continue
		}
		found++
		if _, ok := known[[2]string{f[1], b[1]}]; !ok {
			t.Errorf("no pair knows of %s on %s", f[1], b[1])
		}
	}
	if found == 0 {
		t.Error("no rule sets both")
	}
}

func TestStylesheetTakesPeopleAsTheyAre(t *testing.T) {
	rest := stylesheet(t)
	for _, want := range []string{
		"prefers-reduced-motion: reduce", "forced-colors: active", ":focus-visible", "overflow-wrap: break-word", "color-scheme: light dark",
	} {
		if !strings.Contains(rest, want) {
			t.Errorf("it has no %s", want)
		}
	}
	for _, no := range []string{"url(", "@import", "outline: none", "!important", "user-select", "px;\n  font"} {
		if strings.Contains(rest, no) {
			t.Errorf("it has %s", no)
		}
	}
	button := regexp.MustCompile(`(?s)\n\.button \{(.*?)\}`).FindStringSubmatch(rest)
	if button == nil {
		t.Fatal("no buttons")
	}
	height := regexp.MustCompile(`min-height: ([0-9.]+)rem;`).FindStringSubmatch(button[1])
	if height == nil {
		t.Fatal("buttons have no least height")
	}
	if rem, err := strconv.ParseFloat(height[1], 64); err != nil || rem*16 < 44 {
		t.Errorf("buttons are %s rem high, want 44 px", height[1])
	}
	if found := regexp.MustCompile(`font(-size)?: [0-9.]+px`).FindString(rest); found != "" {
		t.Errorf("text that does not grow with the reader's settings: %s", found)
	}
}
