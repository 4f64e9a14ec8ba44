package difftest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tarball returns where the sources are and their version. Sources that no installed
// package brings are downloaded with apt-get, once, to the cache.
func (s *corpusSource) tarball(ctx context.Context, root string) (path, version string, err error) {
	if s.suite == "" {
		path = "/usr/src/" + s.name + ".tar.xz" // as Debian's package has it
		if _, err := os.Stat(path); err != nil {
			return "", "", fmt.Errorf("%w: %v", ErrNoCorpus, err)
		}
		out, err := exec.CommandContext(ctx, "dpkg-query", "-W", "-f=${Version}", s.name).Output()
		if err != nil {
			return "", "", fmt.Errorf("%w: package %s: %v", ErrNoCorpus, s.name, err)
		}
		return path, string(out), nil
	}
	dir := filepath.Join(root, "sources", s.name)
	if path = downloaded(dir); path == "" {
		if err := s.download(ctx, filepath.Join(root, "sources"), dir); err != nil {
			return "", "", fmt.Errorf("%w: source package %s of %s: %v", ErrNoCorpus, s.packageName(), s.suite, err)
		}
		path = downloaded(dir)
	}
	_, version, _ = strings.Cut(filepath.Base(path), "_")
	version, _, _ = strings.Cut(version, ".orig")
	return path, version, nil
}

// downloaded returns the tarball in dir, or "".
func downloaded(dir string) string {
	names, _ := filepath.Glob(filepath.Join(dir, "*.orig.tar.*"))
	names = slices.DeleteFunc(names, func(name string) bool { return filepath.Ext(name) == ".asc" })
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

func (s *corpusSource) packageName() string {
	if s.pkg != "" {
		return s.pkg
	}
	return s.name
}

// download fetches the tarball to dir. apt-get gets lists of its own, of source packages,
// below the cache: the machine's stay as they are.
func (s *corpusSource) download(ctx context.Context, apt, dir string) error {
	config, err := aptLists(ctx, apt)
	if err != nil {
		return err
	}
	version, err := s.newest(ctx, config)
	if err != nil {
		return err
	}
	part := dir + ".part"
	if err := os.RemoveAll(part); err != nil {
		return err
	}
	if err := os.MkdirAll(part, 0o755); err != nil {
		return err
	}
	if err := aptRun(ctx, config, part, nil, "apt-get", "-qq", "source", "--download-only", "--tar-only", s.packageName()+"="+version); err != nil {
		return err
	}
	if downloaded(part) == "" {
		return errors.New("it has no tarball")
	}
	return os.Rename(part, dir)
}

// newest returns the newest version in the suite that has the prefix.
func (s *corpusSource) newest(ctx context.Context, config string) (string, error) {
	var out bytes.Buffer
	if err := aptRun(ctx, config, "", &out, "apt-cache", "madison", s.packageName()); err != nil {
		return "", err
	}
	newest := ""
	for line := range strings.Lines(out.String()) {
		f := strings.Split(line, "|")
		if len(f) != 3 || !strings.Contains(f[2], " "+s.suite+"/") {
			continue
		}
		v := strings.TrimSpace(f[1])
		if strings.HasPrefix(v, s.version) && (newest == "" || exec.CommandContext(ctx, "dpkg", "--compare-versions", v, "gt", newest).Run() == nil) {
			newest = v
		}
	}
	if newest == "" {
		return "", fmt.Errorf("there is no version %s", s.version+"*")
	}
	return newest, nil
}

// aptLists returns an apt configuration whose lists are the sources of the table's
// suites, from the archive that this machine's apt uses. Lists older than a day are
// updated.
func aptLists(ctx context.Context, apt string) (config string, err error) {
	archive, err := debianArchive(ctx)
	if err != nil {
		return "", err
	}
	for _, d := range []string{"lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(apt, d), 0o755); err != nil {
			return "", err
		}
	}
	var suites []string
	for _, s := range corpusSources() {
		if s.suite != "" && !slices.Contains(suites, s.suite) {
			suites = append(suites, s.suite)
		}
	}
	var list strings.Builder
	for _, suite := range suites {
		fmt.Fprintf(&list, "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n", archive, suite)
	}
	config = filepath.Join(apt, "apt.conf")
	text := fmt.Sprintf("Dir::State::Lists %q;\nDir::Cache %q;\nDir::Etc::SourceList %q;\nDir::Etc::SourceParts \"/dev/null\";\nAPT::Sandbox::User \"root\";\n",
		filepath.Join(apt, "lists"), filepath.Join(apt, "cache"), filepath.Join(apt, "sources.list"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return "", err
	}
	sources := filepath.Join(apt, "sources.list")
	was, _ := os.ReadFile(sources)
	if st, err := os.Stat(filepath.Join(apt, "updated")); err == nil && time.Since(st.ModTime()) < 24*time.Hour && string(was) == list.String() {
		return config, nil
	}
	if err := os.WriteFile(sources, []byte(list.String()), 0o644); err != nil {
		return "", err
	}
	if err := aptRun(ctx, config, "", nil, "apt-get", "-qq", "update"); err != nil {
		return "", err
	}
	return config, os.WriteFile(filepath.Join(apt, "updated"), nil, 0o644)
}

// debianArchive returns the address of the archive that this machine installs from.
func debianArchive(ctx context.Context) (string, error) {
	var out bytes.Buffer
	err := command(ctx, "", &out, "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(SUITE)", "Created-By: Packages", "Origin: Debian", "Component: main")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out.String()) {
		if f := strings.Fields(line); len(f) > 1 && !strings.Contains(f[1], "-") { // not -updates, not -security
			return f[0], nil
		}
	}
	return "", errors.New("apt knows no archive of Debian")
}

// aptRun runs one of apt's programs with the configuration.
func aptRun(ctx context.Context, config, dir string, stdout *bytes.Buffer, name string, args ...string) error {
	return command(ctx, dir, stdout, "env", append([]string{"APT_CONFIG=" + config, name}, args...)...)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
