package sysdig

import (
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// remembered is how many secrets are taken out of texts: tokens, API keys and what IAM gave. Answers to requests with older ones have
// all come or are given up.
const remembered = 16

// minForm is from how many bytes on an encoded secret is looked for: shorter ones would be found by chance.
const minForm = 8

// secrets are taken out of what servers say, which may echo a request. It is safe for concurrent use.
type secrets struct {
	mu     sync.Mutex
	hidden []hidden
}

type hidden struct {
	forms []string
	name  string
}

// hide has a secret replaced by a name.
func (s *secrets) hide(secret, name string) {
	if secret == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidden = append(s.hidden, hidden{forms: formsOf(secret), name: name})
	s.hidden = s.hidden[max(len(s.hidden)-remembered, 0):]
}

// redact takes the secrets out of a text.
func (s *secrets) redact(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hidden {
		for _, form := range h.forms {
			text = strings.ReplaceAll(text, form, h.name)
		}
	}
	return text
}

// formsOf are the ways in which a secret may be written: as it is, in an address, in hexadecimal, and in base64, where it may stand
// behind any number of other bytes, such as "Bearer ". The longest come first.
func formsOf(secret string) []string {
	forms := []string{secret}
	add := func(form string) {
		if len(form) >= minForm && !slices.Contains(forms, form) {
			forms = append(forms, form)
		}
	}
	add(url.QueryEscape(secret))
	add(url.PathEscape(secret))
	add(hex.EncodeToString([]byte(secret)))
	add(strings.ToUpper(hex.EncodeToString([]byte(secret))))
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			text := encoding.EncodeToString(append(make([]byte, before), secret...))
			// Characters that hold bits of the neighbours are left out.
			add(text[(before*8+5)/6 : (before+len(secret))*8/6])
		}
	}
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	return forms
}
