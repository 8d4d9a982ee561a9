package sysdig_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
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

const (
	accessCanary  = "access-canary-"
	refreshCanary = "refresh-canary-"
)

// cloud is IAM and a Sysdig that knows its tokens, which are numbered from 1.
type cloud struct {
	*site
	clock *clocktesting.FakePassiveClock

	mu      sync.Mutex
	issued  int
	revoked map[int]int // the status that Sysdig refuses a token with
	// times is what IAM says of a token's life; refuse, when not nil, answers in its place.
	times  string
	refuse http.HandlerFunc
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{clock: clocktesting.NewFakePassiveClock(noon), revoked: map[int]int{}, times: `"expires_in":3600,"expiration":1930136400`}
	c.site = answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/identity/token" {
			c.exchange(w, r)
			return
		}
		c.mu.Lock()
		var n int
		_, _ = fmt.Sscanf(r.Header.Get("Authorization"), "Bearer "+accessCanary+"%d", &n)
		status := c.revoked[n]
		if n == 0 {
			status = http.StatusUnauthorized
		}
		c.mu.Unlock()
		if status != 0 {
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, `{"message":"not with %s"}`, r.Header.Get("Authorization"))
			return
		}
		_, _ = io.WriteString(w, `{"data":[],"start":1,"end":2}`)
	})
	return c
}

func (c *cloud) exchange(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	refuse := c.refuse
	c.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issued++
	_, _ = fmt.Fprintf(w, `{"access_token":"%s%d","refresh_token":"%s%d","token_type":"Bearer",%s}`, accessCanary, c.issued, refreshCanary, c.issued, c.times)
}

// set changes the cloud.
func (c *cloud) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

func (c *cloud) client(t *testing.T, change ...func(*sysdig.Config)) *sysdig.Client {
	t.Helper()
	return c.site.client(t, append([]func(*sysdig.Config){func(config *sysdig.Config) {
		config.Clock = c.clock
		config.IAM = &sysdig.IAM{}
		config.IAM.URL, _ = url.Parse(c.URL + "/identity/token")
	}}, change...)...)
}

// tokens lists with which tokens Sysdig was asked, and how often IAM was.
func (c *cloud) tokens() (used []string, exchanges int) {
	for _, r := range c.asked() {
		if r.URL.Path == "/identity/token" {
			exchanges++
			continue
		}
		used = append(used, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "+accessCanary))
	}
	return used, exchanges
}

// wantTokens expects what Sysdig and IAM were asked until now.
func (c *cloud) wantTokens(t *testing.T, exchanges int, used ...string) {
	t.Helper()
	if got, n := c.tokens(); !slices.Equal(got, used) || n != exchanges {
		t.Errorf("Sysdig was asked with the tokens %s after %d exchanges, want %s and %d", got, n, used, exchanges)
	}
}

// wantSecretFailure is wantFailure for the secrets of IAM.
func wantSecretFailure(t *testing.T, err error, reason metric.Reason, fragments ...string) *metric.Failure {
	t.Helper()
	f := wantFailure(t, err, reason, fragments...)
	for cause := err; cause != nil; cause = errors.Unwrap(cause) {
		if text := fmt.Sprintf("%v %+v %#v", cause, cause, cause); strings.Contains(text, "canary") {
			t.Errorf("a secret is in the error: %s", text)
		}
	}
	return f
}

func ask(t *testing.T, client *sysdig.Client) error {
	t.Helper()
	_, err := client.Data(t.Context(), sysdig.DataRequest{Start: noon, End: noon})
	return err
}

func mustAsk(t *testing.T, client *sysdig.Client) {
	t.Helper()
	if err := ask(t, client); err != nil {
		t.Fatal(err)
	}
}

func TestAnAPIKeyIsExchangedOnce(t *testing.T) {
	c := newCloud(t)
	client := c.client(t, func(config *sysdig.Config) { config.Headers = http.Header{"Ibminstanceid": {"one"}} })
	for range 3 {
		mustAsk(t, client)
	}
	c.wantTokens(t, 1, "1", "1", "1")
	exchange, question := c.asked()[0], c.asked()[1]
	form, err := url.ParseQuery(c.bodies[0])
	if err != nil || form.Get("grant_type") != "urn:ibm:params:oauth:grant-type:apikey" || form.Get("apikey") != token || len(form) != 2 {
		t.Errorf("sent %v, %v", form, err)
	}
	for header, want := range map[string]string{
		"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "User-Agent": "operator/1", "Authorization": "", "IBMInstanceID": "",
	} {
		if got := exchange.Header.Get(header); got != want {
			t.Errorf("IAM got %s: %q, want %q", header, got, want)
		}
	}
	if exchange.Method != http.MethodPost || question.Header.Get("IBMInstanceID") != "one" {
		t.Errorf("IAM was asked by %s, Sysdig with %s", exchange.Method, question.Header)
	}
}

// TestATokenIsRenewedBeforeItsEnd: the old one is used meanwhile.
func TestATokenIsRenewedBeforeItsEnd(t *testing.T) {
	for times, due := range map[string]time.Duration{
		`"expires_in":3600,"expiration":1`: 55 * time.Minute, // its clock is wrong
		`"expires_in":3600`:                55 * time.Minute,
		`"expiration":1930136400`:          55 * time.Minute,
		`"expires_in":600`:                 5 * time.Minute,
		`"expires_in":60`:                  30 * time.Second,
		`"expires_in":1e30`:                24*time.Hour - 5*time.Minute,
	} {
		t.Run(times, func(t *testing.T) {
			c := newCloud(t)
			c.times = times
			client := c.client(t)
			mustAsk(t, client)
			c.clock.SetTime(noon.Add(due - time.Second))
			mustAsk(t, client)
			c.wantTokens(t, 1, "1", "1")
			held := make(chan struct{})
			c.set(func() {
				c.refuse = func(w http.ResponseWriter, r *http.Request) {
					<-held
					c.set(func() { c.refuse = nil })
					c.exchange(w, r)
				}
			})
			c.clock.SetTime(noon.Add(due))
			mustAsk(t, client)
			mustAsk(t, client)
			close(held)
			eventually(t, "the new token is used", func() bool {
				mustAsk(t, client)
				used, _ := c.tokens()
				return used[len(used)-1] == "2"
			})
			if used, exchanges := c.tokens(); exchanges != 2 || !slices.Equal(used[:4], []string{"1", "1", "1", "1"}) {
				t.Errorf("%d exchanges; Sysdig was asked with the tokens %s", exchanges, used)
			}
		})
	}
}

func TestATokenThatHasExpiredIsNotUsed(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	mustAsk(t, client)
	c.clock.SetTime(noon.Add(time.Hour))
	mustAsk(t, client)
	c.wantTokens(t, 2, "1", "2")
	c.clock.SetTime(noon.Add(3 * time.Hour))
	c.refuse = say(http.StatusServiceUnavailable, "")
	wantSecretFailure(t, ask(t, client), metric.Unavailable, "IBM Cloud IAM answered HTTP 503")
	c.wantTokens(t, 3, "1", "2")
}

// TestAShortOutageOfIAMIsNotNoticed: what is valid is used until its end, and IAM is asked again after a minute, or when it says.
func TestAShortOutageOfIAMIsNotNoticed(t *testing.T) {
	for retryAfter, pause := range map[string]time.Duration{"": time.Minute, "30": time.Minute, "120": 2 * time.Minute, "14400": 5 * time.Minute} {
		t.Run("Retry-After "+retryAfter, func(t *testing.T) {
			c := newCloud(t)
			client := c.client(t)
			mustAsk(t, client)
			c.set(func() {
				c.refuse = func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Retry-After", retryAfter)
					w.WriteHeader(http.StatusTooManyRequests)
				}
			})
			due := noon.Add(55 * time.Minute)
			c.clock.SetTime(due)
			askUntil(t, c, client, 2)
			c.clock.SetTime(due.Add(pause - time.Second))
			mustAsk(t, client)
			if _, exchanges := c.tokens(); exchanges != 2 {
				t.Errorf("%d exchanges within the pause, want 2", exchanges)
			}
			c.clock.SetTime(due.Add(pause))
			if pause < 5*time.Minute {
				askUntil(t, c, client, 3)
			}
			c.clock.SetTime(noon.Add(time.Hour - time.Nanosecond))
			mustAsk(t, client)
			c.clock.SetTime(noon.Add(time.Hour))
			wantSecretFailure(t, ask(t, client), metric.RateLimited, "IBM Cloud IAM answered HTTP 429")
		})
	}
}

// askUntil asks with a token that is due until IAM has been asked so often, and then some more: nobody asks it again.
func askUntil(t *testing.T, c *cloud, client *sysdig.Client, exchanges int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d exchanges", exchanges), func() bool {
		mustAsk(t, client)
		_, n := c.tokens()
		return n >= exchanges
	})
	for range 3 {
		mustAsk(t, client)
	}
	if _, n := c.tokens(); n > exchanges {
		t.Fatalf("%d exchanges, want %d", n, exchanges)
	}
}

// eventually waits for what other goroutines bring about.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for began := time.Now(); !done(); time.Sleep(time.Millisecond) {
		if time.Since(began) > ample {
			t.Fatalf("did not happen: %s", what)
		}
	}
}

func TestARefusedTokenIsRenewedOnce(t *testing.T) {
	for _, status := range []int{http.StatusUnauthorized, http.StatusForbidden} {
		c := newCloud(t)
		client := c.client(t)
		mustAsk(t, client)
		c.set(func() { c.revoked[1] = status })
		mustAsk(t, client)
		c.wantTokens(t, 2, "1", "1", "2")
		bodies := c.bodies[2:]
		if bodies[0] == "" || bodies[0] != bodies[2] { // between them is the exchange
			t.Errorf("%d: sent %q and then %q", status, bodies[0], bodies[2])
		}
		mustAsk(t, client)
		c.wantTokens(t, 2, "1", "1", "2", "2")
	}
}

// TestRefusalsDoNotLoop: a call renews once, and calls one after the other once a minute.
func TestRefusalsDoNotLoop(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	for n := range 10 {
		c.revoked[n] = http.StatusForbidden
	}
	wantSecretFailure(t, ask(t, client), metric.Unauthorized, "Sysdig answered HTTP 403: not with Bearer [token]")
	c.wantTokens(t, 2, "1", "2")
	c.clock.SetTime(noon.Add(59 * time.Second))
	wantSecretFailure(t, ask(t, client), metric.Unauthorized, "Sysdig answered HTTP 403")
	c.wantTokens(t, 2, "1", "2", "2")
	c.clock.SetTime(noon.Add(time.Minute))
	wantSecretFailure(t, ask(t, client), metric.Unauthorized, "Sysdig answered HTTP 403")
	c.wantTokens(t, 3, "1", "2", "2", "2", "3")
}

func TestOtherFailuresDoNotRenew(t *testing.T) {
	for status, reason := range map[int]metric.Reason{
		400: metric.Rejected, 404: metric.Unavailable, 422: metric.Rejected, 429: metric.RateLimited, 500: metric.Unavailable, 503: metric.Unavailable,
	} {
		c := newCloud(t)
		c.revoked[1] = status
		wantSecretFailure(t, ask(t, c.client(t)), reason, fmt.Sprintf("Sysdig answered HTTP %d", status))
		c.wantTokens(t, 1, "1")
	}
}

func TestATokenThatCannotBeRenewedSaysWhy(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	mustAsk(t, client)
	c.set(func() {
		c.revoked[1], c.refuse = 401, say(http.StatusBadRequest, `{"errorMessage":"Provided API key is disabled."}`)
	})
	wantSecretFailure(t, ask(t, client), metric.Unauthorized, "IAM answered HTTP 400: Provided API key is disabled.")
	c.wantTokens(t, 2, "1", "1")
}

func TestTheStatusOfIAMDecidesTheReason(t *testing.T) {
	echo := `{"errorCode":"BXNIM0415E","errorMessage":"no key ` + token + ` with ` + accessCanary + `1 and ` + refreshCanary + `1"}`
	for status, reason := range map[int]metric.Reason{
		400: metric.Unauthorized, 401: metric.Unauthorized, 403: metric.Unauthorized, 404: metric.Unavailable, 422: metric.Unavailable,
		429: metric.RateLimited, 500: metric.Unavailable, 503: metric.Unavailable, 201: metric.Unavailable, 204: metric.Unavailable,
	} {
		c := newCloud(t)
		client := c.client(t)
		mustAsk(t, client) // so that there are secrets to echo
		c.set(func() {
			c.refuse = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "120")
				w.WriteHeader(status)
				if status != http.StatusNoContent {
					_, _ = io.WriteString(w, echo)
				}
			}
		})
		c.clock.SetTime(noon.Add(2 * time.Hour))
		got, err := client.Query(t.Context(), "x", noon)
		f := wantSecretFailure(t, err, reason, fmt.Sprintf("IBM Cloud IAM answered HTTP %d", status))
		if f.RetryAfter != 2*time.Minute || got.RateLimit != 0 || !got.Date.IsZero() {
			t.Errorf("%d: %+v, %+v", status, f, got)
		}
		if names := strings.Contains(f.Full(), "spec.tokenSecretRef"); names != (reason == metric.Unauthorized) {
			t.Errorf("%d: %s", status, f)
		}
		if status == http.StatusBadRequest && !strings.Contains(f.Full(), "no key [key] with [token] and [token]") {
			t.Errorf("%d: %s", status, f)
		}
	}
}

func TestAnAnswerOfIAMThatIsNone(t *testing.T) {
	const access, refresh = `"access_token":"` + accessCanary + `"`, `"refresh_token":"` + refreshCanary + `"`
	for name, body := range map[string]string{
		"nothing":                      ``,
		"a page":                       `<html>` + accessCanary,
		"half of a document":           `{` + access + `,` + refresh,
		"no token":                     `{` + refresh + `,"expires_in":3600}`,
		"an empty token":               `{"access_token":"",` + refresh + `,"expires_in":3600}`,
		"a token that ends a line":     `{"access_token":"` + accessCanary + `\r\nX: y","expires_in":3600}`,
		"no life":                      `{` + access + `,` + refresh + `}`,
		"an end that has passed":       `{` + access + `,` + refresh + `,"expiration":1930132799}`,
		"a life that is text":          `{` + access + `,"expires_in":"` + refreshCanary + `"}`,
		"a token that is a number":     `{"access_token":1,` + refresh + `,"expires_in":3600}`,
		"more than anybody would send": `{` + access + `,"expires_in":3600,"x":"` + strings.Repeat("x", 64<<10) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.refuse = func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/"+accessCanary)
				_, _ = io.WriteString(w, body)
			}
			wantSecretFailure(t, ask(t, c.client(t)), metric.Unavailable, "IBM Cloud IAM")
			c.wantTokens(t, 1)
		})
	}
}

func TestTheWayToIAM(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				_, _ = fmt.Fprintf(conn, "%s1 %s1 %s\r\n\r\n", accessCanary, refreshCanary, token)
			}
			_ = conn.Close()
		}
	}()
	done := make(chan struct{})
	defer close(done)
	elsewhere := answering(t, say(http.StatusOK, "{}"))
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		url    string
		text   string
	}{
		"what comes is no HTTP": {url: "http://" + listener.Addr().String(), text: "the request to IBM Cloud IAM failed"},
		"nobody is there":       {url: "https://127.0.0.1:1/identity/token", text: "connection refused"},
		"it is not trusted":     {url: serve(t, sysdigtest.Options{}).URL, text: "the certificate of IBM Cloud IAM is not trusted"},
		"it redirects":          {answer: http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect).ServeHTTP, text: "IBM Cloud IAM redirects"},
		"it hangs": {answer: func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-done:
			case <-r.Context().Done():
			}
		}, text: "IBM Cloud IAM did not answer in time"},
		"it hangs up": {answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, text: "IBM Cloud IAM failed: EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t)
			c.refuse = test.answer
			client := c.client(t, func(config *sysdig.Config) {
				if test.url != "" {
					config.IAM.URL, _ = url.Parse(test.url)
				}
				if name == "it hangs" {
					config.Timeout = 200 * time.Millisecond
				}
			})
			wantSecretFailure(t, ask(t, client), metric.Unavailable, test.text)
			if used, _ := c.tokens(); used != nil {
				t.Errorf("Sysdig was asked with %s", used)
			}
		})
	}
	if asked := elsewhere.asked(); len(asked) != 0 {
		t.Errorf("the key went to %s", asked[0].URL)
	}
}

func TestCallsAtTheSameTimeShareAnExchange(t *testing.T) {
	const callers = 20
	c := newCloud(t)
	client := c.client(t)
	var started, ended sync.WaitGroup
	started.Add(callers)
	c.refuse = func(w http.ResponseWriter, r *http.Request) {
		started.Wait()
		c.set(func() { c.refuse = nil })
		c.exchange(w, r)
	}
	for range callers {
		ended.Go(func() {
			started.Done()
			if err := ask(t, client); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	c.wantTokens(t, 1, slices.Repeat([]string{"1"}, callers)...)
}

// TestWhoLeavesDoesNotEndTheExchange of those who wait with it.
func TestWhoLeavesDoesNotEndTheExchange(t *testing.T) {
	c := newCloud(t)
	client := c.client(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	c.refuse = func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-answer
		c.set(func() { c.refuse = nil })
		c.exchange(w, r)
	}
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := client.Query(ctx, "x", noon)
		left <- err
	}()
	<-asked
	leave()
	wantSecretFailure(t, <-left, metric.Unavailable, "canceled")
	close(answer)
	mustAsk(t, client)
	c.wantTokens(t, 1, "1")
}

func TestAnAPIKeyThatCannotBeOneIsRefused(t *testing.T) {
	for _, key := range []string{"", " \n", "a b", "ü"} {
		_, err := sysdig.NewClient(sysdig.Config{Token: key, IAM: &sysdig.IAM{}, Timeout: time.Second})
		wantFailure(t, err, metric.Unauthorized, "API key")
	}
}
