package node_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// readme returns the commands of the README below a heading: one list for each of its blocks.
func readme(t *testing.T, root, heading string) [][]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	if !found {
		t.Fatalf("the README has no heading %q", heading)
	}
	var blocks [][]string
	inBlock := false
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			if inBlock = !inBlock; inBlock {
				blocks = append(blocks, nil)
			}
		case inBlock && line != "":
			blocks[len(blocks)-1] = append(blocks[len(blocks)-1], line)
		case strings.HasPrefix(line, "#"):
			return blocks
		}
	}
	return blocks
}

func TestTheREADMESaysHowToInstall(t *testing.T) {
	root := moduleRoot(t)
	for heading, blocks := range map[string]int{"## Install": 2, "### Uninstall": 1} {
		found := readme(t, root, heading)
		if len(found) != blocks {
			t.Errorf("%s has %d blocks of commands, want %d: the story of this package runs them", heading, len(found), blocks)
		}
		for _, line := range found {
			if len(line) == 0 || !strings.HasPrefix(line[0], "kubectl ") {
				t.Errorf("%s: %q is no command", heading, line)
			}
		}
	}
}
