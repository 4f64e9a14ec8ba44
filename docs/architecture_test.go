package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	walkRow  = regexp.MustCompile("(?m)^\\| [^|]+ \\| `([^`|]+\\.go)` \\| `([^`|]+)` \\|$")
	treePath = regexp.MustCompile("`((?:bpf|ir|nfp|driver|offload|internal|cmd)(?:/[a-z/]+)?(?:[a-z_]+\\.go)?)/?`")
)

// Each row of a walk names a file, and a function that the file declares.
func TestWalks(t *testing.T) {
	page := read(t, "architecture.md")
	rows := walkRow.FindAllStringSubmatch(page, -1)
	if want := strings.Count(page, ".go` |"); len(rows) != want || want < 20 {
		t.Errorf("%d rows with a file and a function, want %d", len(rows), want)
	}
	for _, r := range rows {
		if names := declared(t, filepath.Join("..", r[1])); !names[r[2]] {
			t.Errorf("%s does not declare %s", r[1], r[2])
		}
	}
}

// declared returns the functions of a file, methods as Type.Method.
func declared(t *testing.T, path string) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return names
	}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			if id, ok := of.(*ast.Ident); ok {
				name = id.Name + "." + name
			}
		}
		names[name] = true
	}
	return names
}

// Paths that pages for newcomers name exist, and architecture.md names every package
// that is not under internal.
func TestPaths(t *testing.T) {
	for _, page := range []string{"architecture.md", "compiler.md", "../CONTRIBUTING.md"} {
		for _, m := range treePath.FindAllStringSubmatch(read(t, page), -1) {
			if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
				t.Errorf("%s names %s, which does not exist", page, m[1])
			}
		}
	}
	page := read(t, "architecture.md")
	for _, root := range []string{"bpf", "ir", "nfp", "driver", "offload", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return err
			}
			if d.Name() == "testdata" {
				return fs.SkipDir
			}
			if files, _ := filepath.Glob(filepath.Join(path, "*.go")); len(files) > 0 && !strings.Contains(page, "`"+filepath.ToSlash(path)[3:]+"`") {
				t.Errorf("architecture.md does not say what to open %s for", path[3:])
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
