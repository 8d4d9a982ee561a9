package sysdig_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/metric"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig"
	"github.com/sysdig-metrics/sysdig-metrics-operator/internal/sysdig/sysdigtest"
)

func TestARefusedTokenIsUnauthorizedWhateverTheBody(t *testing.T) {
	for body, text := range map[sysdigtest.UnauthorizedBody]string{
		sysdigtest.UnauthorizedPrometheus: "HTTP 401: Unauthorized", sysdigtest.UnauthorizedGateway: "HTTP 401: cannot verify credentials",
		sysdigtest.UnauthorizedPlatform: "HTTP 401: Unauthorized", sysdigtest.UnauthorizedEmpty: "HTTP 401", sysdigtest.UnauthorizedHTML: "HTTP 401",
	} {
		t.Run(string(body), func(t *testing.T) {
			s := serve(t, sysdigtest.Options{Switches: sysdigtest.Switches{Unauthorized: body}})
			s.RevokeToken(token)
			_, err := connect(t, s).Query(t.Context(), "x", noon)
			wantFailure(t, err, metric.Unauthorized, text)
		})
	}
}

func TestTheStatusDecidesTheReason(t *testing.T) {
	bodies := map[string]string{
		"JSON": `{"status":"error","errorType":"e","error":"what happened"}`, "HTML": "<html>what\nhappened</html>", "no body": "",
		"the errors of the data API": `{"errors":[{"reason":"why","message":"what happened"}]}`,
		"an object as error":         `{"error":{"code":1},"message":""}`,
		"a list":                     `[1,2]`, "null": "null", "half of a document": `{"error":"wha`,
		"a long message":       `{"message":"` + strings.Repeat("ü\\n ", 4000) + `"}`,
		"an echo":              fmt.Sprintf(`{"message":"what happened to Bearer %s?"}`, token),
		"an echo at the limit": fmt.Sprintf(`{"message":"%sBearer %s"}`, strings.Repeat("x", 280), token),
	}
	for status, reason := range map[int]metric.Reason{
		400: metric.Rejected, 401: metric.Unauthorized, 403: metric.Unauthorized, 404: metric.Unavailable, 410: metric.Unavailable,
		418: metric.Unavailable, 422: metric.Rejected, 429: metric.RateLimited, 500: metric.Unavailable, 502: metric.Unavailable,
		503: metric.Unavailable, 504: metric.Unavailable, 204: metric.Unavailable, 206: metric.Unavailable, 304: metric.Unavailable,
	} {
		s := serve(t, sysdigtest.Options{})
		client := connect(t, s)
		for name, body := range bodies {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				if status == 204 || status == 304 {
					body = ""
				}
				s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: status, Body: body})
				_, err := client.Query(t.Context(), "x", noon)
				f := wantFailure(t, err, reason, fmt.Sprintf("HTTP %d", status))
				if strings.Contains(f.Full(), "<") || f.RetryAfter != 0 {
					t.Errorf("got %+v", f)
				}
				if name == "JSON" && body != "" && !strings.Contains(f.Full()+";", ": what happened;") {
					t.Errorf("got %q", f.Full())
				}
				if strings.Contains(f.Message, "what happened") || !strings.Contains(f.Message, fmt.Sprintf("Sysdig answered HTTP %d", status)) {
					t.Errorf("tenants are told %q", f.Message)
				}
			})
		}
	}
}

func TestRetryAfterIsObeyedWithinReason(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	for sent, want := range map[string]time.Duration{
		"": 0, "0": 0, "-5": 0, "soon": 0, "1.5": 0, "1": time.Second, "120": 2 * time.Minute,
		"14400": 4 * time.Hour, "14401": 4 * time.Hour, "9223372036854775807": 4 * time.Hour,
	} {
		s.Handle("/retry"+sent+"/", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", sent)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		client := connect(t, s, func(c *sysdig.Config) { c.QueryURL, _ = url.Parse(s.URL + "/retry" + sent + "/") })
		_, err := client.Query(t.Context(), "x", noon)
		if f := wantFailure(t, err, metric.RateLimited); f.RetryAfter != want {
			t.Errorf("%q: %s, want %s", sent, f.RetryAfter, want)
		}
	}
}

func TestAnAnswerThatDoesNotArriveIsUnavailable(t *testing.T) {
	const short, long = 500 * time.Millisecond, ample // short is that of what never comes
	tests := map[string]struct {
		fault   sysdigtest.Fault
		timeout time.Duration
		text    string
	}{
		"the connection is reset":        {sysdigtest.Fault{Kind: sysdigtest.FaultReset}, long, "failed"},
		"the body is cut":                {sysdigtest.Fault{Kind: sysdigtest.FaultTruncate}, long, ""},
		"nothing comes":                  {sysdigtest.Fault{Kind: sysdigtest.FaultHang}, short, "in time"},
		"the body comes too slowly":      {sysdigtest.Fault{Kind: sysdigtest.FaultDrip, Delay: time.Hour}, short, "in time"},
		"a page comes":                   {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage}, long, "text/html"},
		"a page comes that echoes":       {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"` + token + `","error":"` + strings.Repeat("x", 260) + token + `"}`, ContentType: "text/" + token}, long, ""},
		"an empty body comes":            {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: " "}, long, ""},
		"an error comes as a success":    {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"error","error":"too much"}`}, long, "too much"},
		"a value that is an echo":        {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"` + token + `"]}]}}`}, long, "not a number"},
		"a label that is an echo":        {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":"` + token + `"}`}, long, ""},
		"a matrix comes":                 {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"matrix","result":[]}}`}, long, "no vector"},
		"two documents come":             {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"vector","result":[]}}{}`}, long, ""},
		"a vector without a result":      {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"vector"}}`}, long, "no vector"},
		"a vector with null as a result": {sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: `{"status":"success","data":{"resultType":"vector","result":null}}`}, long, "no vector"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, sysdigtest.Options{})
			s.SetFault(test.fault)
			_, err := connect(t, s, func(c *sysdig.Config) { c.Timeout = test.timeout }).Query(t.Context(), "x", noon)
			wantFailure(t, err, metric.Unavailable, test.text)
		})
	}
}

func TestAQueryEndsWithItsContext(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultHang})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := connect(t, s).Query(ctx, "x", noon)
	wantFailure(t, err, metric.Unavailable, "canceled")
}

func TestARedirectIsNotFollowed(t *testing.T) {
	asked := make(chan http.Header, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.Header }))
	defer other.Close()
	s := serve(t, sysdigtest.Options{})
	for _, status := range []int{301, 302, 303, 307, 308} {
		for _, to := range []string{other.URL, s.URL + "/login", "/login"} {
			s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultRedirect, Status: status, URL: to})
			before := s.RequestCount()
			for _, query := range []string{"x", strings.Repeat("x", 9000)} {
				_, err := connect(t, s).Query(t.Context(), query, noon)
				wantFailure(t, err, metric.Unavailable, "redirects")
			}
			if n := s.RequestCount() - before; n != 2 {
				t.Errorf("%d to %s: %d requests, want 2", status, to, n)
			}
		}
	}
	if len(asked) != 0 {
		t.Errorf("the other server was asked with %v", <-asked)
	}
}

func TestAnAnswerThatIsTooLargeIsTruncated(t *testing.T) {
	s := serve(t, sysdigtest.Options{})
	body := `{"status":"success","data":{"resultType":"vector","result":[]}}`
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: body + strings.Repeat(" ", 32<<20)})
	_, err := connect(t, s).Query(t.Context(), "x", noon)
	wantFailure(t, err, metric.Truncated, "32 MiB")
}

// TestAnEchoedTokenIsTakenOutHoweverItIsWritten uses characters that JSON writers escape.
func TestAnEchoedTokenIsTakenOutHoweverItIsWritten(t *testing.T) {
	const odd = `tok<en>&"quo\te`
	echo, err := json.Marshal(map[string]string{"message": strings.Repeat("x", 290) + " token " + odd})
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, sysdigtest.Options{})
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultStatus, Status: 403, Body: string(echo)})
	client := connect(t, s, func(c *sysdig.Config) { c.Token = odd })
	_, err = client.Query(t.Context(), "x", noon)
	if f := wantFailure(t, err, metric.Unauthorized); strings.Contains(f.Full(), "tok<") {
		t.Error(f)
	}
	s.SetFault(sysdigtest.Fault{Kind: sysdigtest.FaultGarbage, Body: strings.Replace(string(echo), `"message"`, `"error"`, 1)})
	_, err = client.Query(t.Context(), "x", noon)
	if f := wantFailure(t, err, metric.Unavailable); strings.Contains(f.Full(), "tok") {
		t.Error(f)
	}
}

// TestAnAnswerThatIsNoHTTPMayEchoToo: net/http quotes what it could not read.
func TestAnAnswerThatIsNoHTTPMayEchoToo(t *testing.T) {
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
				_, _ = fmt.Fprintf(conn, "you sent Bearer %s\r\n\r\n", token)
			}
			_ = conn.Close()
		}
	}()
	client, err := sysdig.NewClient(sysdig.Config{
		QueryURL: &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}, Token: token, Timeout: ample,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, err = client.Query(t.Context(), "x", noon)
	wantFailure(t, err, metric.Unavailable, "failed")
}

// TestAKeptConnectionThatIsClosedJustThenCostsNothing: the server closes it while a request is on its way, which is sent once more, by
// whatever method. On a new connection it is not.
func TestAKeptConnectionThatIsClosedJustThenCostsNothing(t *testing.T) {
	for name, query := range map[string]string{"by GET": "x", "by POST": strings.Repeat("x", 9000)} {
		t.Run(name, func(t *testing.T) {
			listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var served sync.WaitGroup
			var had, keys atomic.Int32
			served.Go(func() {
				for {
					conn, err := listener.Accept()
					if err != nil {
						return
					}
					in := bufio.NewReader(conn)
					for answers := 1; ; answers-- { // the second request on a connection gets none
						request, err := http.ReadRequest(in)
						if err != nil {
							break
						}
						_, _ = io.Copy(io.Discard, request.Body)
						if had.Add(1); request.Header.Get("Idempotency-Key") != "" || len(request.Header["Idempotency-Key"]) > 0 {
							keys.Add(1)
						}
						if answers <= 0 {
							break
						}
						const body = `{"status":"success","data":{"resultType":"vector","result":[]}}`
						_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
					}
					_ = conn.Close()
				}
			})
			client, err := sysdig.NewClient(sysdig.Config{
				QueryURL: &url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}, Token: token, Timeout: ample,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				client.Close()
				_ = listener.Close()
				served.Wait()
			})
			for i := range 5 {
				if _, err := client.Query(t.Context(), query, noon); err != nil {
					t.Errorf("query %d: %v", i, err)
				}
			}
			if had.Load() != 9 || keys.Load() != 0 { // all but the first come twice
				t.Errorf("the server had %d requests, %d with a key", had.Load(), keys.Load())
			}
		})
	}
}
