package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// pauseImage holds the namespaces of a pod.
	pauseImage = "localhost/test-node/pause:1"
	// ProgramsImage holds /traffic and /sysdig-standin.
	ProgramsImage = "localhost/test-node/programs:1"
	// golangImage and staticImage are the names in the operator's Dockerfile, for which small local images stand.
	golangImage = "docker.io/library/golang:1.26"
	staticImage = "gcr.io/distroless/static:nonroot"
)

// Builder builds images with buildah, without a network and without a registry.
type Builder struct {
	root string // folder of the module
	dir  string // of everything that is built
	// shared are the machine's Go tool, modules and build cache, as arguments of a build.
	shared []string
}

// NewBuilder returns a builder with the images that the operator's Dockerfile begins with. root is the folder of the module.
func NewBuilder(ctx context.Context, root string) (*Builder, error) {
	b := &Builder{root: root, dir: filepath.Join(os.Getenv(insideVariable), "images")}
	for name, place := range map[string]string{"GOROOT": "/usr/local/go:ro", "GOMODCACHE": "/go/pkg/mod:ro", "GOCACHE": "/gocache"} {
		folder, err := command(ctx, "go", "env", name)
		if err != nil {
			return nil, err
		}
		b.shared = append(b.shared, "--volume="+strings.TrimSpace(folder)+":"+place)
	}
	return b, b.buildBases(ctx)
}

// buildBases builds what stands for the images of others.
func (b *Builder) buildBases(ctx context.Context) error {
	shell, err := busybox()
	if err != nil {
		return err
	}
	static, err := b.context("static", map[string]string{"etc/passwd": "nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"}, "tmp", "home/nonroot")
	if err != nil {
		return err
	}
	if err := b.run(ctx, "--tag="+staticImage, static); err != nil {
		return err
	}
	program, err := os.ReadFile(shell)
	if err != nil {
		return fmt.Errorf("read busybox: %w", err)
	}
	golang, err := b.context("golang", map[string]string{"bin/sh": string(program), "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n"}, "tmp", "root")
	if err != nil {
		return err
	}
	return b.run(ctx, "--tag="+golangImage, golang)
}

// Operator builds the operator's own Dockerfile, as users do, under a name, and returns the image's archive.
func (b *Builder) Operator(ctx context.Context, name string) (archive string, err error) {
	args := append(append([]string{}, b.shared...), "--build-arg=VERSION=e2e-node", "--file="+filepath.Join(b.root, "Dockerfile"))
	return b.build(ctx, name, append(args, b.root)...)
}

// Programs builds the images of what else runs in pods; flask is the name of the sample's. It returns their archives.
func (b *Builder) Programs(ctx context.Context, flask string) (archives []string, err error) {
	folder, err := b.context("programs", nil)
	if err != nil {
		return nil, err
	}
	for _, pkg := range []string{"test/node/traffic", "cmd/sysdig-standin"} {
		// With the flags of the operator's Dockerfile most of what is compiled is the same.
		_, err := command(ctx, "env", "CGO_ENABLED=0", "go", "build", "-C", b.root, "-trimpath", "-ldflags=-s -w", "-o", filepath.Join(folder, filepath.Base(pkg)), "./"+pkg)
		if err != nil {
			return nil, err
		}
	}
	for _, image := range [][2]string{{"pause", pauseImage}, {"programs", ProgramsImage}, {"flask", flask}} {
		archive, err := b.build(ctx, image[1], "--target="+image[0], folder)
		if err != nil {
			return nil, err
		}
		archives = append(archives, archive)
	}
	return archives, nil
}

// context makes a folder with the Containerfile of a name, files and empty folders.
func (b *Builder) context(name string, files map[string]string, folders ...string) (path string, err error) {
	path = filepath.Join(b.dir, name)
	text, err := containerfiles.ReadFile("images/" + name + ".Containerfile")
	if err != nil {
		return "", err
	}
	for _, folder := range append(folders, ".") {
		if err := os.MkdirAll(filepath.Join(path, folder), 0o755); err != nil {
			return "", fmt.Errorf("make the image %s: %w", name, err)
		}
	}
	all := map[string]string{"Containerfile": string(text), ".containerignore": "Containerfile\n.containerignore\n"}
	for file, content := range files {
		all[file] = content
	}
	for file, content := range all {
		file = filepath.Join(path, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return "", fmt.Errorf("make the image %s: %w", name, err)
		}
		if err := os.WriteFile(file, []byte(content), 0o755); err != nil {
			return "", fmt.Errorf("make the image %s: %w", name, err)
		}
	}
	return path, nil
}

// build builds an image under a name and returns its archive.
func (b *Builder) build(ctx context.Context, name string, args ...string) (archive string, err error) {
	if err := b.run(ctx, append([]string{"--tag=" + name}, args...)...); err != nil {
		return "", err
	}
	archive = filepath.Join(b.dir, strings.NewReplacer("/", "_", ":", "_").Replace(name)+".tar")
	return archive, b.buildah(ctx, "push", name, "oci-archive:"+archive+":"+name)
}

// run runs a build that pulls nothing.
func (b *Builder) run(ctx context.Context, args ...string) error {
	return b.buildah(ctx, append([]string{"build", "--isolation=chroot", "--pull-never", "--quiet"}, args...)...)
}

// buildah runs buildah, which leaves nothing outside the folder.
func (b *Builder) buildah(ctx context.Context, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, buildTimeout)
	defer cancel()
	global := []string{"TMPDIR=" + b.dir, "buildah", "--root=" + filepath.Join(b.dir, "storage"), "--runroot=/run/buildah", "--storage-driver=overlay"}
	_, err := command(ctx, "env", append(global, args...)...)
	return err
}

// buildTimeout is how long one image may take. The first build of the operator compiles the standard library and all modules.
const buildTimeout = 20 * time.Minute
