package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/sysdig-metrics/sysdig-metrics-operator/test/stage"
)

const (
	certSecret = "sysdig-metrics-serving-cert"
	// rotationLimit is when a new certificate has to be shown by all replicas.
	rotationLimit = time.Minute
	// tokenPause is longer than a token that was replaced is in use: a request that is under way, and the watch of the Secret.
	tokenPause = 2 * time.Second
	// authorityEvery is how many rotations of the certificate come to one of its authority.
	authorityEvery = 5
)

// rotations replaces the certificate and the token over and over.
func rotations(p plan) fault {
	return fault{
		name:  "rotations",
		story: fmt.Sprintf("%d certificates, each %dth with a new authority, and %d tokens", p.rotations, authorityEvery, p.rotations),
		play:  rotate, graceful: true, once: true,
	}
}

func rotate(ctx context.Context, s *scene, _ *observer) error {
	before, err := s.failedPolls(ctx)
	if err != nil {
		return err
	}
	for n := range s.plan.rotations {
		if err := s.rotateToken(ctx, n+1); err != nil {
			return err
		}
		if err := s.rotateCertificate(ctx, n%authorityEvery == authorityEvery-1); err != nil {
			return fmt.Errorf("rotation %d: %w", n+1, err)
		}
		if n%10 == 9 {
			s.say("%d rotations", n+1)
		}
	}
	after, err := s.failedPolls(ctx)
	if err == nil && after > before {
		err = fmt.Errorf("%.0f polls failed", after-before)
	}
	return err
}

// failedPolls are the requests to Sysdig that have failed, of all replicas.
func (s *scene) failedPolls(ctx context.Context) (total float64, err error) {
	for _, r := range s.running() {
		failed, err := s.metric(ctx, r, "sysdig_metrics_request_errors_total")
		if err != nil {
			return 0, err
		}
		total += failed
	}
	return total, nil
}

// rotateToken makes a new token, writes it, and revokes the old one when nobody should use it any more.
func (s *scene) rotateToken(ctx context.Context, n int) error {
	old := s.token
	s.token = newToken(n)
	s.sysdig.AddToken(s.token, nil)
	if err := s.update(ctx, connection+"-token", func(secret *corev1.Secret) { secret.Data["token"] = []byte(s.token) }); err != nil {
		return err
	}
	if err := stage.Sleep(ctx, tokenPause); err != nil {
		return err
	}
	s.sysdig.RevokeToken(old)
	return nil
}

// rotateCertificate removes the certificate, or its authority, which makes the operator issue another one, and waits until all
// replicas show it.
func (s *scene) rotateCertificate(ctx context.Context, authority bool) error {
	key := corev1.TLSCertKey
	if authority {
		key = "ca.crt"
	}
	var old []byte
	if err := s.update(ctx, certSecret, func(secret *corev1.Secret) {
		old = secret.Data[corev1.TLSCertKey]
		delete(secret.Data, key)
	}); err != nil {
		return err
	}
	return stage.Wait(ctx, rotationLimit, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.stage.Client.Get(ctx, client.ObjectKey{Namespace: stage.Namespace, Name: certSecret}, &secret); err != nil {
			return err
		}
		issued := secret.Data[corev1.TLSCertKey]
		if len(issued) == 0 || bytes.Equal(issued, old) {
			return errors.New("no new certificate was issued")
		}
		for _, r := range s.running() {
			if err := shows(ctx, r, issued); err != nil {
				return err
			}
		}
		return nil
	})
}

// shows tells whether a replica shows a certificate.
func shows(ctx context.Context, r *stage.Replica, issued []byte) error {
	block, _ := pem.Decode(issued)
	if block == nil {
		return errors.New("the Secret holds no certificate")
	}
	want, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	got, err := shown(ctx, r.Port())
	if err == nil && !got.Equal(want) {
		err = fmt.Errorf("%s shows another certificate", r.Name)
	}
	return err
}

// update changes a Secret of the operator's namespace.
func (s *scene) update(ctx context.Context, name string, change func(*corev1.Secret)) error {
	return stage.Wait(ctx, rotationLimit, func(ctx context.Context) error {
		var secret corev1.Secret
		if err := s.stage.Client.Get(ctx, client.ObjectKey{Namespace: stage.Namespace, Name: name}, &secret); err != nil {
			return err
		}
		change(&secret)
		return s.stage.Client.Update(ctx, &secret)
	})
}
