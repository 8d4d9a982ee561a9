package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/cluster"
	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	// clusterName is the value of the cluster label in the stand-in's series.
	clusterName = "demo"
	// startTimeout is how long the stand-in may take until it listens.
	startTimeout = 30 * time.Second
)

// standIn is the program in the place of Sysdig.
type standIn struct {
	url, token string
	bundleFile string
	bundle     []byte
	process    *cluster.HostProcess
	client     *http.Client
}

// startStandIn builds and starts the stand-in, which follows the pods of flask.
func startStandIn(ctx context.Context, s *stage.Stage) (*standIn, error) {
	binary, err := s.Build(ctx, "./cmd/sysdig-standin")
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(s.Cluster.Dir(), "standin")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the stand-in's folder: %w", err)
	}
	in := &standIn{token: rand.Text(), bundleFile: filepath.Join(dir, "ca.crt")}
	tokenFile := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokenFile, []byte(in.token+"\n"), 0o600); err != nil {
		return nil, fmt.Errorf("writing the stand-in's token: %w", err)
	}
	in.process, err = s.Cluster.StartHostProcess("sysdig-standin", binary,
		"--kubeconfig="+s.Cluster.AdminKubeconfig(), "--cluster="+clusterName,
		"--workload="+namespace+"/deployment/"+app, "--selector=app="+app,
		"--token-file="+tokenFile, "--tls-dir="+dir, "--lag=1s")
	if err != nil {
		return nil, err
	}
	if err := stage.Wait(ctx, startTimeout, in.findURL); err != nil {
		return nil, fmt.Errorf("waiting for the stand-in: %w", err)
	}
	return in, in.trust()
}

// findURL reads the address from the first line of the stand-in's output.
func (in *standIn) findURL(context.Context) error {
	if err := in.process.Failure(); err != nil {
		return err
	}
	output, err := os.ReadFile(in.process.LogFile())
	if err != nil {
		return fmt.Errorf("reading its output: %w", err)
	}
	line, _, complete := strings.Cut(string(output), "\n")
	if !complete || !strings.HasPrefix(line, "https://") {
		return errors.New("it has not told its address yet")
	}
	in.url = line
	return nil
}

// trust makes a client that trusts the stand-in's authority and nobody else.
func (in *standIn) trust() error {
	var err error
	if in.bundle, err = os.ReadFile(in.bundleFile); err != nil {
		return fmt.Errorf("reading the stand-in's certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(in.bundle) {
		return fmt.Errorf("%s holds no certificate", in.bundleFile)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	in.client = &http.Client{Timeout: readTimeout, Transport: transport}
	return nil
}

// setLoad sets the total of requests per second.
func (in *standIn) setLoad(ctx context.Context, rps float64) error {
	url := in.url + "/control/load?rps=" + strconv.FormatFloat(rps, 'f', -1, 64)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, nil)
	if err != nil {
		return fmt.Errorf("setting the load: %w", err)
	}
	resp, err := in.client.Do(req)
	if err != nil {
		return fmt.Errorf("setting the load: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		return fmt.Errorf("setting the load: %s: %s", resp.Status, body)
	}
	return nil
}
