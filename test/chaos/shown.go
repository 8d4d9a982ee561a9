package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"time"
)

// shown is the certificate that is shown at a port of this machine. It is looked at and not believed.
func shown(ctx context.Context, port int) (*x509.Certificate, error) {
	dialer := tls.Dialer{
		NetDialer: &net.Dialer{Timeout: time.Second},
		Config:    &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13}, // nothing is sent or read
	}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return nil, err
	}
	certificates := connection.(*tls.Conn).ConnectionState().PeerCertificates
	if err := connection.Close(); err != nil {
		return nil, err
	}
	if len(certificates) == 0 {
		return nil, errors.New("no certificate is shown")
	}
	return certificates[0], nil
}
