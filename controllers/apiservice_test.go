package controllers

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
)

// authorityOf makes an authority as the rotator does, which dates it back by an hour.
func authorityOf(t *testing.T, made time.Time, life time.Duration) []byte {
	t.Helper()
	made = made.Add(-time.Hour)
	pair, err := (&rotator.CertRotator{CAName: "sysdig-metrics", CAOrganization: "sysdig-metrics"}).CreateCACert(made, made.Add(life))
	if err != nil {
		t.Fatal(err)
	}
	return pair.CertPEM
}

func TestTheAuthorityBeforeIsTrustedForAnHour(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	const years = 10 * 365 * 24 * time.Hour
	fresh := authorityOf(t, now, years)
	old := authorityOf(t, now.Add(-years/2), years)
	expired := authorityOf(t, now.Add(-2*years), years)
	of := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for name, test := range map[string]struct {
		authority, present []byte
		now                time.Time
		want               []byte
		again              bool // to be looked at again
	}{
		"the first":                        {fresh, nil, now, fresh, false},
		"nothing new":                      {fresh, fresh, now, fresh, false},
		"a new one":                        {fresh, old, now, of(fresh, old), true},
		"after a new one":                  {fresh, of(fresh, old), now.Add(59 * time.Minute), of(fresh, old), true},
		"an hour after":                    {fresh, of(fresh, old), now.Add(61 * time.Minute), fresh, false},
		"a new one that nobody took up":    {fresh, old, now.Add(61 * time.Minute), fresh, false},
		"one that has ended":               {fresh, of(old, expired), now, of(fresh, old), true},
		"rubbish":                          {fresh, []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), now, fresh, false},
		"no authority leaves all as it is": {nil, old, now, nil, false},
		"a broken one, too":                {[]byte("x"), old, now, nil, false},
	} {
		got, until := bundle(test.authority, test.present, test.now)
		if !bytes.Equal(got, test.want) || until.IsZero() == test.again {
			t.Errorf("%s: %d certificates until %s, want %d", name, strings.Count(string(got), "BEGIN"), until, strings.Count(string(test.want), "BEGIN"))
		}
	}
}

func TestTheBundleIsBounded(t *testing.T) {
	now := time.Now()
	var present []byte
	for range maxAuthorities + 4 {
		fresh := authorityOf(t, now, time.Hour*24)
		present, _ = bundle(fresh, present, now)
		if first, _ := pem.Decode(present); !bytes.Equal(pem.EncodeToMemory(first), fresh) {
			t.Fatal("the authority in force is not the first one")
		}
	}
	if got := strings.Count(string(present), "BEGIN"); got != maxAuthorities {
		t.Errorf("%d authorities, want %d", got, maxAuthorities)
	}
}
