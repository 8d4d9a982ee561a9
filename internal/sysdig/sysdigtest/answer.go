package sysdigtest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	jsonType = "application/json;charset=utf-8"
	htmlType = "text/html; charset=utf-8"
	textType = "text/plain; charset=utf-8"

	proxyPage = "<html><head><title>Gateway</title></head><body><h1>The service is unavailable.</h1></body></html>\n"
)

// answer is what goes back to the client.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	// cut closes the connection without an answer; with reset, by a TCP reset.
	cut, reset bool
}

func jsonAnswer(status int, body any) answer {
	b, err := json.Marshal(body)
	if err != nil {
		return text(http.StatusInternalServerError, fmt.Sprintf("sysdigtest: encoding the answer: %v\n", err))
	}
	return answer{status: status, contentType: jsonType, body: b}
}

func text(status int, body string) answer {
	return answer{status: status, contentType: textType, body: []byte(body)}
}

// envelope is the frame of all answers of the Prometheus API.
type envelope struct {
	Status    string   `json:"status"`
	Data      any      `json:"data,omitempty"`
	ErrorType string   `json:"errorType,omitempty"`
	Error     string   `json:"error,omitempty"`
	Warnings  []string `json:"warnings,omitempty"`
	Infos     []string `json:"infos,omitempty"`
}

// success frames data and adds the warning of a fault.
func (c *call) success(data any, warnings, infos []string) answer {
	if c.fault.Kind == FaultWarnings {
		warnings = append(warnings, c.fault.Body)
	}
	return jsonAnswer(http.StatusOK, envelope{Status: "success", Data: data, Warnings: warnings, Infos: infos})
}

func failure(status int, kind, message string) answer {
	return jsonAnswer(status, envelope{Status: "error", ErrorType: kind, Error: message})
}

func badData(err error) answer { return failure(http.StatusBadRequest, "bad_data", err.Error()) }

func execution(message string) answer {
	return failure(http.StatusUnprocessableEntity, "execution", message)
}

func gone() answer {
	return failure(http.StatusGone, "gone", "This API endpoint is not supported.")
}

func (c *call) timedOut() answer {
	if c.api == classicAPI {
		return classicFailure(http.StatusGatewayTimeout, classicError{Reason: "Timeout", Message: "the request took too long"})
	}
	return failure(http.StatusServiceUnavailable, "timeout", "query timed out in expression evaluation")
}

func notFound() answer { return text(http.StatusNotFound, "404 page not found\n") }

func tooManyRequests(retryAfter time.Duration) answer {
	a := jsonAnswer(http.StatusTooManyRequests, map[string]any{
		"type": "too_many_requests", "message": "Too many requests", "details": []string{},
	})
	a.retryAfter(retryAfter)
	return a
}

func (a *answer) retryAfter(d time.Duration) {
	if d > 0 {
		a.header = http.Header{"Retry-After": {strconv.Itoa(int(d.Seconds()))}}
	}
}

func (s *Server) unauthorized(c *call) answer {
	const status = http.StatusUnauthorized
	switch c.switches.Unauthorized {
	case UnauthorizedGateway:
		a := text(status, fmt.Sprintf(`{"message":"cannot verify credentials","referenceId":%q}`+"\n", c.id))
		a.header = http.Header{"Connection": {"close"}}
		return a
	case UnauthorizedPlatform:
		return jsonAnswer(status, map[string]any{"type": "unauthorized", "message": "Unauthorized", "details": []string{}})
	case UnauthorizedEmpty:
		return answer{status: status}
	case UnauthorizedHTML:
		return answer{status: status, contentType: htmlType, body: []byte(proxyPage)}
	}
	return jsonAnswer(status, map[string]any{
		"timestamp": s.clk.Now().UnixMilli(), "status": status, "error": "Unauthorized", "path": "/ext/auth" + c.URL.Path,
	})
}

func (f Fault) statusAnswer() answer {
	a := answer{status: f.Status, contentType: f.ContentType, body: []byte(f.Body)}
	if f.Body != "" {
		a.contentType = cmp.Or(f.ContentType, jsonType)
	}
	a.retryAfter(f.RetryAfter)
	return a
}

func (f Fault) redirectAnswer() answer {
	return answer{status: cmp.Or(f.Status, http.StatusFound), header: http.Header{"Location": {f.URL}}}
}

func (f Fault) garbageAnswer() answer {
	return answer{status: http.StatusOK, contentType: cmp.Or(f.ContentType, htmlType), body: []byte(cmp.Or(f.Body, proxyPage))}
}

// deliver sends an answer the way the request's fault wants it.
func (s *Server) deliver(w http.ResponseWriter, c *call, a answer) {
	if a.cut {
		if a.reset {
			resetConnection(w)
		}
		panic(http.ErrAbortHandler)
	}
	s.log.update(c.number, func(r *Request) { r.Status = a.status })

	h := w.Header()
	h.Set("Date", s.clk.Now().UTC().Format(http.TimeFormat))
	for name, values := range a.header {
		h[name] = values
	}
	// An empty, present value keeps net/http from guessing.
	h["Content-Type"] = nil
	if a.contentType != "" {
		h.Set("Content-Type", a.contentType)
	}
	body := a.body
	switch {
	case c.switches.OddContentEncoding:
		h.Set("Content-Encoding", "text/plain; gzip; charset=utf8")
	case len(body) > 0 && strings.Contains(c.Header.Get("Accept-Encoding"), "gzip"):
		h.Set("Content-Encoding", "gzip")
		body = s.compress(body)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(a.status)

	switch c.fault.Kind {
	case FaultTruncate:
		// A body that is shorter than announced makes net/http close the connection.
		_, _ = w.Write(body[:len(body)/2])
	case FaultDrip:
		s.drip(w, c, body)
	default:
		_, _ = w.Write(body)
	}
}

func (s *Server) drip(w http.ResponseWriter, c *call, body []byte) {
	flush := http.NewResponseController(w)
	// The client may see the headers before the first byte of the body.
	_ = flush.Flush()
	for i := range body {
		if !s.wait(c.Context(), c.fault.Delay) {
			panic(http.ErrAbortHandler)
		}
		if _, err := w.Write(body[i : i+1]); err != nil {
			return
		}
		_ = flush.Flush()
	}
}

func (s *Server) compress(body []byte) []byte {
	z, ok := s.zippers.Get().(*gzip.Writer)
	if !ok {
		z = gzip.NewWriter(nil)
	}
	defer s.zippers.Put(z)
	var b bytes.Buffer
	z.Reset(&b)
	// Writing to memory does not fail.
	_, _ = z.Write(body)
	_ = z.Close()
	return b.Bytes()
}

// resetConnection makes the peer see a TCP reset.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	raw := conn
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		raw = t.NetConn()
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = raw.Close()
}
