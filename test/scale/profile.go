package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// cpuProfile is how long the CPU is profiled, in seconds.
const cpuProfile = 30

// operator is the program to run as the operator; empty for the product as it is.
func (p plan) operator() string {
	if p.profiles == "" {
		return ""
	}
	return "./test/scale/profiled"
}

// flags are further flags of that program.
func (p plan) flags() []string {
	if p.profiles == "" {
		return nil
	}
	return []string{"--pprof=" + p.pprof}
}

// profile writes profiles of the operator's heap and CPU, if they are wanted.
func (p plan) profile(ctx context.Context, what string) error {
	if p.profiles == "" {
		return nil
	}
	name := filepath.Join(p.profiles, strings.ReplaceAll(what, " ", "-"))
	if err := p.fetch(ctx, "heap", name+".heap"); err != nil {
		return err
	}
	return p.fetch(ctx, fmt.Sprintf("profile?seconds=%d", cpuProfile), name+".cpu")
}

func (p plan) fetch(ctx context.Context, which, path string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.pprof+"/debug/pprof/"+which, nil)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer response.Body.Close()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return os.WriteFile(path, raw, 0o600)
}
