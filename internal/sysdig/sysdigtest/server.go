package sysdigtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"k8s.io/utils/clock"
)

// lookback is how old the newest point of a series may be for an instant query to return it: 5 minutes, as IBM
// documents it for Cloud Monitoring.
const lookback = 5 * time.Minute

// maxSamples bounds the memory of one query; the Prometheus default.
const maxSamples = 50_000_000

// Server is the stand-in. It is an [http.Handler], and listens by itself after Start, StartTLS, Listen or ListenWith.
type Server struct {
	// URL is the base address without a trailing slash and without the path prefix; set once the server listens.
	URL string

	clk    clock.Clock
	store  *Store
	prefix string
	ibm    *IBM
	iam    *iam
	limits Limits
	parser parser.Parser
	engine *promql.Engine
	slots  chan struct{}
	mux    *http.ServeMux
	log    requestLog
	faults faults
	// zippers are those that are not in use: to make one takes longer than to use it.
	zippers sync.Pool

	mu        sync.Mutex
	switches  Switches
	teams     map[string]*team
	perMinute int

	listening sync.WaitGroup
	server    *http.Server
	caBundle  []byte
	closeOnce sync.Once
	closed    chan struct{}
}

// New returns a server that does not listen yet.
func New(o Options) *Server {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	limits := o.Limits.withDefaults()
	s := &Server{
		clk:       o.Clock,
		store:     NewStore(o.Clock),
		prefix:    o.PathPrefix,
		iam:       newIAM(),
		limits:    limits,
		parser:    parser.NewParser(parser.Options{}),
		slots:     make(chan struct{}, limits.ConcurrentQueries),
		mux:       http.NewServeMux(),
		switches:  o.Switches.withDefaults(),
		teams:     map[string]*team{},
		perMinute: o.RequestsPerMinute,
		closed:    make(chan struct{}),
	}
	if o.Lag != 0 {
		s.store.SetLag(max(o.Lag, 0))
	}
	s.engine = promql.NewEngine(promql.EngineOpts{
		MaxSamples:           maxSamples,
		Timeout:              limits.Timeout,
		LookbackDelta:        lookback,
		EnableAtModifier:     true,
		EnableNegativeOffset: true,
		// A subquery without a step takes the default of Prometheus, its evaluation interval.
		NoStepSubqueryIntervalFn: func(int64) int64 { return time.Minute.Milliseconds() },
		Parser:                   s.parser,
	})
	for _, token := range o.Tokens {
		s.AddToken(token, nil)
	}
	if o.IBM != nil {
		s.ibm = &IBM{InstanceID: o.IBM.InstanceID, TokenLifetime: cmp.Or(o.IBM.TokenLifetime, time.Hour)}
		for _, key := range o.IBM.APIKeys {
			s.AddAPIKey(key)
		}
	}
	s.mux.HandleFunc("/", s.serveAPI)
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Minute} // a client may open a connection and not need it for long
	return s
}

// Store returns the series that the server answers from.
func (s *Server) Store() *Store { return s.store }

// Handle adds a handler beside the API, outside of authentication, faults and the log of requests. The pattern is that
// of [http.ServeMux].
func (s *Server) Handle(pattern string, h http.Handler) { s.mux.Handle(pattern, h) }

// SetSwitches replaces the switches while the server runs.
func (s *Server) SetSwitches(sw Switches) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.switches = sw.withDefaults()
}

// Start serves plain HTTP on a free port of 127.0.0.1.
func (s *Server) Start() error { return s.Listen("127.0.0.1:0", false) }

// StartTLS serves HTTPS on a free port of 127.0.0.1 with a certificate of the authority in [Server.CABundle].
func (s *Server) StartTLS() error { return s.Listen("127.0.0.1:0", true) }

// Listen serves on the given address, which must belong to the loopback interface, and returns at once. A server can
// listen only once.
func (s *Server) Listen(address string, withTLS bool) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("address to listen on: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("address to listen on: %q is not a loopback address", host)
	}
	if !withTLS {
		return s.listen("http", address, nil)
	}
	certificate, bundle, err := issueCertificate()
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	s.caBundle = bundle
	return s.listen("https", address, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
}

// ListenWith serves HTTPS on the given address, which may be any of the machine's, with a certificate of the caller's, and
// returns at once. A server can listen only once.
func (s *Server) ListenWith(address string, certificate tls.Certificate) error {
	return s.listen("https", address, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
}

// listen serves in the background, plain without a configuration of TLS.
func (s *Server) listen(scheme, address string, config *tls.Config) error {
	if s.URL != "" {
		return fmt.Errorf("already listening on %s", s.URL)
	}
	ln, err := new(net.ListenConfig).Listen(context.Background(), "tcp", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	s.URL = scheme + "://" + ln.Addr().String()
	if config != nil {
		ln = tls.NewListener(ln, config)
	}
	s.listening.Go(func() {
		if err := s.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			// Only closing ends Serve on a listener that nobody else holds.
			panic(fmt.Sprintf("sysdigtest: serve: %v", err))
		}
	})
	return nil
}

// CABundle returns the certificate of the authority that signed the server's certificate, in PEM form. It is nil for
// plain HTTP.
func (s *Server) CABundle() []byte { return s.caBundle }

// Close stops listening, ends requests that are delayed or hang, cuts all connections, and waits for the listener.
func (s *Server) Close() {
	s.release()
	_ = s.server.Close()
	s.listening.Wait()
}

// Shutdown is Close, but lets requests that are being answered finish until the context ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.release()
	err := s.server.Shutdown(ctx)
	s.Close()
	if err != nil {
		return fmt.Errorf("shut down: %w", err)
	}
	return nil
}

// release ends requests that are delayed or hang.
func (s *Server) release() { s.closeOnce.Do(func() { close(s.closed) }) }

// wait returns true after d on the server's clock, and false when the request or the server ends before.
func (s *Server) wait(ctx context.Context, d time.Duration) bool {
	timer := s.clk.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C():
		return true
	case <-ctx.Done():
	case <-s.closed:
	}
	return false
}
