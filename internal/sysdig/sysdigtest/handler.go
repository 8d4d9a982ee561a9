package sysdigtest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxBody is the largest request body that is read: enough for the longest query in percent encoding.
const maxBody = 1 << 20

// call is one request on its way through the server.
type call struct {
	*http.Request
	// id is the value of X-Request-Id.
	id string
	// number is the request's place in the log.
	number int
	// api is the family of endpoints and route what stands behind its path, such as "query", "label/pod/values" or "data".
	api   api
	route string
	// badForm is set when the parameters could not be read.
	badForm error
	params  url.Values
	// data is the body of a call of the data API, and badData is set when it could not be read.
	data    dataRequest
	badData error

	token    string
	team     *team
	fault    activeFault
	switches Switches
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	c := s.newCall(r)

	h := w.Header()
	h.Set("X-Request-Id", c.id)
	h.Set("Vary", "Accept-Encoding, User-Agent")
	h.Set("Cache-Control", "no-cache, no-store, max-age=0, must-revalidate")
	h.Set("Set-Cookie", "SDSESSION="+c.id+"; Path=/; HttpOnly")
	if c.api == prometheusAPI || c.api == classicAPI {
		h.Set("X-Ratelimit-Limit", strconv.Itoa(s.rateLimit()))
	}
	s.deliver(w, c, s.handle(c))
	s.log.update(c.number, func(r *Request) { r.Answered = s.clk.Now() })
}

func (s *Server) newCall(r *http.Request) *call {
	s.mu.Lock()
	switches := s.switches
	s.mu.Unlock()

	c := &call{Request: r, switches: switches, token: bearer(r)}
	c.api, c.route = s.locate(r.URL.Path)
	entry := Request{At: s.clk.Now(), Method: r.Method, Path: r.URL.Path}
	if c.api == classicAPI {
		s.readClassic(c, &entry)
	} else {
		s.readForm(c, &entry)
	}
	entry.Fault = c.fault.Kind
	if c.token != "" {
		entry.Token = Fingerprint(c.token)
	}
	c.number = s.log.add(entry)
	c.id = fmt.Sprintf("00000000-0000-4000-8000-%012x", c.number+1)
	return c
}

// readForm reads the parameters of a call of the Prometheus API.
func (s *Server) readForm(c *call, entry *Request) {
	c.badForm = c.ParseForm()
	c.params = maps.Clone(c.Form)
	if c.switches.QueryStringOnly {
		c.params, c.badForm = c.URL.Query(), nil
	}
	endpoint, _, _ := strings.Cut(c.route, "/")
	if c.api == iamAPI {
		endpoint = routeToken
	}
	c.fault = s.faults.pick(endpoint, append([]string{c.params.Get("query")}, c.params["match[]"]...)...)
	entry.Query, entry.Time, entry.Params = c.params.Get("query"), c.params.Get("time"), withoutSecrets(c.params)
}

// readClassic reads the parameters of a call of the classic API, or the body of one that asks for data.
func (s *Server) readClassic(c *call, entry *Request) {
	c.params = c.URL.Query()
	entry.Params = c.params
	if c.route != routeData {
		c.fault = s.faults.pick(c.route)
		return
	}
	body, err := io.ReadAll(c.Body)
	if err == nil {
		c.data, err = decodeDataRequest(body)
	}
	c.badData = err
	c.fault = s.faults.pick(c.route, append(c.data.promQLNames(), string(body))...)
	entry.Query, entry.Time = string(body), c.data.End.text()
}

// handle decides on the answer. Faults that stand for a proxy or the network come first, as these do.
func (s *Server) handle(c *call) answer {
	switch f := c.fault; f.Kind {
	case FaultHang:
		select {
		case <-c.Context().Done():
		case <-s.closed:
		}
		return answer{cut: true}
	case FaultReset:
		return answer{cut: true, reset: true}
	case FaultStatus:
		return f.statusAnswer()
	case FaultRedirect:
		return f.redirectAnswer()
	case FaultGarbage:
		return f.garbageAnswer()
	}
	if c.api == noAPI {
		return notFound()
	}
	if c.api == iamAPI {
		return s.serveRoute(c)
	}
	if refusal := s.admit(c); refusal != nil {
		return *refusal
	}
	if !c.team.budget.AllowN(s.clk.Now(), 1) {
		return tooManyRequests(c.switches.RetryAfter)
	}
	return s.serveRoute(c)
}

func (s *Server) serveRoute(c *call) answer {
	endpoint := s.endpoint(c)
	if endpoint.serve == nil {
		if c.api == prometheusAPI && unsupported(c.route) {
			return gone()
		}
		return notFound()
	}
	if !slices.Contains(endpoint.methods(), c.Method) {
		return text(http.StatusMethodNotAllowed, "Method Not Allowed\n")
	}
	if c.badForm != nil {
		return badData(fmt.Errorf("parameters: %w", c.badForm))
	}
	if endpoint.slot {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			return tooManyRequests(c.switches.RetryAfter)
		}
	}
	if c.fault.Kind == FaultDelay {
		delay, timeout := c.fault.Delay, s.timeout(c)
		if !s.wait(c.Context(), min(delay, timeout)) {
			return answer{cut: true}
		}
		if delay > timeout {
			return c.timedOut()
		}
	}
	return endpoint.serve(c)
}

// endpoint is how one route of the API is served.
type endpoint struct {
	serve func(*call) answer
	// getOnly refuses POST, and postOnly GET.
	getOnly, postOnly bool
	// slot counts the call among the concurrent queries.
	slot bool
}

func (e endpoint) methods() []string {
	switch {
	case e.getOnly:
		return []string{http.MethodGet}
	case e.postOnly:
		return []string{http.MethodPost}
	}
	return []string{http.MethodGet, http.MethodPost}
}

func (s *Server) endpoint(c *call) endpoint {
	switch c.api {
	case classicAPI:
		return s.classicEndpoint(c.route)
	case iamAPI:
		return endpoint{serve: s.issueToken, postOnly: true}
	}
	return s.prometheusEndpoint(c.route)
}

func (s *Server) prometheusEndpoint(route string) endpoint {
	switch route {
	case "query":
		return endpoint{serve: s.instantQuery, slot: true}
	case "query_range":
		return endpoint{serve: s.rangeQuery, slot: true}
	case "series":
		return endpoint{serve: s.series, slot: true}
	case "labels":
		return endpoint{serve: s.labelNames}
	case "metadata":
		return endpoint{serve: s.metricMetadata, getOnly: true}
	case "rules":
		return endpoint{serve: func(c *call) answer { return c.success(map[string][]string{"groups": {}}, nil, nil) }, getOnly: true}
	case "alerts":
		return endpoint{serve: func(c *call) answer { return c.success(map[string][]string{"alerts": {}}, nil, nil) }, getOnly: true}
	}
	if name, ok := labelInPath(route); ok {
		return endpoint{serve: func(c *call) answer { return s.labelValues(c, name) }, getOnly: true}
	}
	return endpoint{}
}

// labelInPath returns the label name of a route "label/{name}/values".
func labelInPath(route string) (string, bool) {
	rest, ok := strings.CutPrefix(route, "label/")
	if !ok {
		return "", false
	}
	name, ok := strings.CutSuffix(rest, "/values")
	return name, ok && name != "" && !strings.Contains(name, "/")
}

// unsupported tells whether Prometheus has the route and Sysdig answers 410 for it.
func unsupported(route string) bool {
	switch route {
	case "format_query", "parse_query", "query_exemplars", "targets", "targets/metadata", "alertmanagers", "notifications":
		return true
	}
	return strings.HasPrefix(route, "status/") || strings.HasPrefix(route, "admin/tsdb/")
}
