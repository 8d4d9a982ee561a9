package sysdig_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

const empty = `{"status":"success","data":{"resultType":"vector","result":[]}}`

// TestARefusalSaysWhatIsKnownOfTheToken: what follows from the evidence has a word of its own, all else the same one.
func TestARefusalSaysWhatIsKnownOfTheToken(t *testing.T) {
	refuse := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	team := func(c *sysdig.Config) { c.Headers = http.Header{"Sysdigteamid": {"42"}} }
	const denied = `{"errors":[{"reason":"Not enough privileges to complete the action","message":"Access is denied"}]}`
	for name, test := range map[string]struct {
		handler  http.HandlerFunc
		change   func(*sysdig.Config)
		accepted bool // before
		fault    sysdig.CredentialFault
		text     string
	}{
		"401":                           {handler: refuse(401, `{"status":401,"error":"Unauthorized"}`), fault: sysdig.CredentialRefused, text: "does not tell whether"},
		"401 of the gateway":            {handler: refuse(401, `{"message":"cannot verify credentials"}`), fault: sysdig.CredentialRefused, text: "does not tell whether"},
		"401 without a body":            {handler: refuse(401, ""), fault: sysdig.CredentialRefused, text: "does not tell whether"},
		"401 after it was accepted":     {handler: refuse(401, ""), accepted: true, fault: sysdig.CredentialExpired, text: "it was accepted before"},
		"403 after it was accepted":     {handler: refuse(403, `{"message":"Forbidden"}`), accepted: true, fault: sysdig.CredentialNoPermission, text: "metrics-data.read"},
		"403":                           {handler: refuse(403, `{"message":"Forbidden"}`), fault: sysdig.CredentialNoPermission, text: "metrics-data.read"},
		"403 of a proxy":                {handler: refuse(403, "<html>blocked</html>"), fault: sysdig.CredentialRefused, text: "does not tell whether"},
		"not enough privileges":         {handler: refuse(401, denied), fault: sysdig.CredentialNoPermission, text: "spec.endpoint.iam"},
		"a team is named, and is wrong": {handler: onlyWithout("SysdigTeamID"), change: team, fault: sysdig.CredentialWrongTeam, text: "correct the team"},
		"a team is named, and is right": {handler: refuse(401, ""), change: team, fault: sysdig.CredentialRefused, text: "does not tell whether"},
		"to another region":             {handler: redirect("https://eu1.app.sysdig.com/login"), fault: sysdig.CredentialWrongRegion, text: "its region eu1"},
		"to another region of IBM's":    {handler: redirect("https://eu-de.monitoring.cloud.ibm.com/"), fault: sysdig.CredentialWrongRegion, text: "its region eu-de"},
		"to a stranger":                 {handler: redirect("https://example.com/"), text: "redirects to another address"},
		"to one that looks alike":       {handler: redirect("https://eu1.app.sysdig.com.example.com/"), text: "redirects to another address"},
		"500":                           {handler: refuse(500, ""), text: "HTTP 500"},
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			accept := test.accepted
			site := answering(t, func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				if accept {
					_, _ = io.WriteString(w, empty)
					return
				}
				test.handler(w, r)
			})
			client := site.client(t, func(c *sysdig.Config) {
				if test.change != nil {
					test.change(c)
				}
			})
			if test.accepted {
				if _, err := client.Query(t.Context(), "x", noon); err != nil {
					t.Fatal(err)
				}
				mu.Lock()
				accept = false
				mu.Unlock()
			}
			_, err := client.Query(t.Context(), "x", noon)
			reason := metric.Unauthorized
			if test.fault == "" || test.fault == sysdig.CredentialWrongRegion {
				reason = metric.Unavailable
			}
			f := wantFailure(t, err, reason, test.text)
			if got := sysdig.FaultOf(f); got != test.fault {
				t.Errorf("it is %q, want %q", got, test.fault)
			}
		})
	}
}

// onlyWithout answers those who do not send a header.
func onlyWithout(header string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get(header) != "" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, empty)
	}
}

// TestTheTeamIsAskedAboutOnceAMinute: a refusal costs no second request each time.
func TestTheTeamIsAskedAboutOnceAMinute(t *testing.T) {
	clk := clocktesting.NewFakePassiveClock(noon)
	site := answering(t, onlyWithout("SysdigTeamID"))
	client := site.client(t, func(c *sysdig.Config) { c.Headers, c.Clock = http.Header{"Sysdigteamid": {"42"}}, clk })
	want := func(requests int) {
		t.Helper()
		_, err := client.Query(t.Context(), "x", noon)
		if fault := sysdig.FaultOf(err); fault != sysdig.CredentialWrongTeam {
			t.Errorf("it is %q", fault)
		}
		if n := len(site.asked()); n != requests {
			t.Errorf("%d requests, want %d", n, requests)
		}
	}
	want(2)
	want(3)
	clk.SetTime(noon.Add(time.Minute))
	want(5)
	if err := client.Rotate("another"); err != nil {
		t.Fatal(err)
	}
	want(7)
}

// TestARefusedAPIKey: whether it was ever accepted tells a key that has gone from one that is wrong.
func TestARefusedAPIKey(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	mustAsk(t, client)
	c.set(func() {
		c.refuse = say(http.StatusBadRequest, `{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}`)
	})
	c.clock.SetTime(noon.Add(2 * time.Hour))
	if err := ask(t, client); sysdig.FaultOf(err) != sysdig.CredentialExpired {
		t.Errorf("got %v", err)
	}
	if err := ask(t, c.client(t)); sysdig.FaultOf(err) != sysdig.CredentialRefused {
		t.Errorf("got %v", err)
	}
}

// TestANewTokenIsUsedFromTheNextRequestOn also when there is none for a while.
func TestANewTokenIsUsedFromTheNextRequestOn(t *testing.T) {
	site := answering(t, say(http.StatusOK, empty))
	client := site.client(t)
	for _, step := range []struct {
		token string
		fault sysdig.CredentialFault
	}{{"one", ""}, {"two\n", ""}, {"two", ""}, {"", sysdig.CredentialMissing}, {"a b", sysdig.CredentialMalformed}, {"three", ""}} {
		before := len(site.asked())
		if err := client.Rotate(step.token); sysdig.FaultOf(err) != step.fault || (err == nil) != (step.fault == "") {
			t.Errorf("%q: %v", step.token, err)
		}
		_, err := client.Query(t.Context(), "x", noon)
		asked := site.asked()[before:]
		if step.fault != "" {
			if sysdig.FaultOf(err) != step.fault || len(asked) != 0 {
				t.Errorf("%q: %v after %d requests", step.token, err, len(asked))
			}
			continue
		}
		if err != nil || len(asked) != 1 || asked[0].Header.Get("Authorization") != "Bearer "+strings.TrimSpace(step.token) {
			t.Errorf("%q: %v, asked with %v", step.token, err, asked)
		}
	}
}

// TestATokenHasABound: what is too long to be one is not kept in any form, and the longest that is allowed is sent.
func TestATokenHasABound(t *testing.T) {
	site := answering(t, say(http.StatusOK, empty))
	client := site.client(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 20 {
		if err := client.Rotate(strings.Repeat("t", 1<<20)); sysdig.FaultOf(err) != sysdig.CredentialMalformed || !strings.Contains(err.Error(), "longer than 4096 bytes") {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 40<<20 { // 20 of them are the test's own
		t.Errorf("20 Secrets of 1 MiB took %d MiB", used>>20)
	}
	if err := client.Rotate(strings.Repeat("t", 4097)); sysdig.FaultOf(err) != sysdig.CredentialMalformed {
		t.Errorf("4097 bytes: %v", err)
	}
	if err := client.Rotate(strings.Repeat("t", 4096)); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Query(t.Context(), "x", noon); err != nil {
		t.Errorf("the longest token that is allowed: %v", err)
	}
}

// TestANewAPIKeyIsExchangedAtOnce: an access token of the old key is not used to its end.
func TestANewAPIKeyIsExchangedAtOnce(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	mustAsk(t, client)
	mustAsk(t, client)
	if err := client.Rotate("another key"); err == nil {
		t.Error("a key with a blank is taken")
	}
	if err := client.Rotate("another-key"); err != nil {
		t.Fatal(err)
	}
	mustAsk(t, client)
	c.wantTokens(t, 2, "1", "1", "2")
}

// TestTokensRotateUnderLoadWithoutAFailedRequest revokes each token as soon as the client has the next one, while requests with it are
// under way. The control is a client that is not told.
func TestTokensRotateUnderLoadWithoutAFailedRequest(t *testing.T) {
	for name, told := range map[string]bool{"told": true, "not told": false} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, sysdigtest.Options{})
			client := connect(t, s)
			stop := make(chan struct{})
			var workers sync.WaitGroup
			var mu sync.Mutex
			var failures []error
			var answered [8]int
			for i := range answered {
				workers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						_, err := client.Query(t.Context(), "x", noon)
						mu.Lock()
						if answered[i]++; err != nil {
							failures = append(failures, err)
						}
						mu.Unlock()
					}
				})
			}
			// settle waits until each has begun and ended so many requests, besides those that are under way.
			settle := func(requests int) {
				mu.Lock()
				before := answered
				mu.Unlock()
				eventually(t, "everybody is answered", func() bool {
					mu.Lock()
					defer mu.Unlock()
					for i := range answered {
						if answered[i] <= before[i]+requests {
							return false
						}
					}
					return true
				})
			}
			old, began := token, 0
			for i := range 100 {
				next := fmt.Sprintf("%s-%d", token, i)
				s.AddToken(next, nil)
				if told {
					if err := client.Rotate(next); err != nil {
						t.Fatal(err)
					}
				}
				s.RevokeToken(old)
				old = next
				settle(0)
				began = s.RequestCount()
			}
			settle(1)
			close(stop)
			workers.Wait()
			if told != (len(failures) == 0) {
				t.Errorf("%d of %d requests have failed, such as %v", len(failures), s.RequestCount(), failures[:min(len(failures), 3)])
			}
			last := slices.ContainsFunc(s.Requests()[began:], func(r sysdigtest.Request) bool { return r.Token != sysdigtest.Fingerprint(old) })
			if told && last {
				t.Error("an old token was used again")
			}
			t.Logf("%d requests, %d failures", s.RequestCount(), len(failures))
		})
	}
}

// TestAnEchoIsTakenOutInEveryForm: servers write what they were sent in many ways. The control is another text of the same form, which
// is shown.
func TestAnEchoIsTakenOutInEveryForm(t *testing.T) {
	const secret, innocent = "c4n4ry/token+with=signs-0123456789", "1nn0c/text+with=signs-0123456789xx"
	forms := map[string]func(string) string{
		"as it is":             func(s string) string { return "Bearer " + s },
		"in an address":        func(s string) string { return "?apikey=" + url.QueryEscape(s) },
		"in a path":            url.PathEscape,
		"in base64":            func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"in base64 for URLs":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
		"a header in base64":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte("Bearer " + s)) },
		"credentials":          func(s string) string { return base64.StdEncoding.EncodeToString([]byte("user:" + s)) },
		"more in base64":       func(s string) string { return base64.StdEncoding.EncodeToString([]byte("{\"token\":\"" + s + "\"}")) },
		"in hexadecimal":       func(s string) string { return hex.EncodeToString([]byte(s)) },
		"in capitals":          func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"with marks in it":     func(s string) string { return s[:9] + "\u200b" + s[9:20] + "\x01" + s[20:] },
		"at the end of a text": func(s string) string { return strings.Repeat("x", 270) + s },
	}
	for name, write := range forms {
		t.Run(name, func(t *testing.T) {
			for text, shown := range map[string]bool{secret: false, innocent: true} {
				body, err := json.Marshal(map[string]string{"message": write(text)})
				if err != nil {
					t.Fatal(err)
				}
				site := answering(t, say(http.StatusInternalServerError, string(body)))
				client := site.client(t, func(c *sysdig.Config) { c.Token = secret })
				_, err = client.Query(t.Context(), "x", noon)
				told := false
				for _, form := range forms {
					told = told || discloses(metric.AsFailure(err).Full(), form(text), text)
				}
				if told != shown {
					t.Errorf("%q is shown: %t, want %t", err, told, shown)
				}
			}
		})
	}
}

// discloses tells whether a message shows a good part of a text, or of a form of it without what stands around it there.
func discloses(message, form, text string) bool {
	const part, around = 12, 16
	for _, of := range []string{form[min(around, len(form)):], text} {
		of = strings.Map(func(r rune) rune {
			if r == '\u200b' || r == 1 {
				return -1
			}
			return r
		}, of)
		for i := 0; i+part <= len(of); i++ {
			if piece := of[i : i+part]; strings.Contains(message, piece) && !strings.HasPrefix(piece, "xx") {
				return true
			}
		}
	}
	return false
}
