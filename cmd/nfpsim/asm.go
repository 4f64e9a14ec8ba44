package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nfpkit/nfpkit/bpf/maps"
	"github.com/nfpkit/nfpkit/nfp"
)

func newAsm() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "asm FILE.s",
		Short: "assemble micro-engine text or a whole listing into an image",
		Long: `Assembles micro-engine text into an image file. Whole listings are taken as they
are: GNU objdump's, bpftool's, and those of nfpsim compile --listing; un-relocated
ones get their relocations back. FILE.s is such a text; "-" is standard input.`,
		Example: `  nfpsim compile firewall.o --listing | nfpsim asm - -o firewall.nfp`,
		Args:    exactly("FILE.s"),
		RunE: func(cmd *cobra.Command, args []string) error {
			src, err := readText(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			im, err := assemble(args[0], src)
			if err != nil {
				return err
			}
			if out == "" {
				return printWords(cmd.OutOrStdout(), im)
			}
			return writeFile(out, cmd.OutOrStdout(), im.Write)
		},
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write an image to `FILE` instead of printing words in hex")
	return cmd
}

func newDis() *cobra.Command {
	return &cobra.Command{
		Use:   "dis FILE",
		Short: "disassemble an image file, or words in hex, into text",
		Long: `Disassembles FILE: an image (file.nfp), or text of control-store words in hex, one a
line (45 bits, or 52 with check bits). "-" is standard input.`,
		Example: `  nfpsim compile firewall.o -o firewall.nfp
  nfpsim dis firewall.nfp`,
		Args: exactly("FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			im, err := readImage(args[0], cmd.InOrStdin())
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), nfp.Disassemble(im))
			return err
		},
	}
}

func printWords(w io.Writer, im *nfp.Image) error {
	for _, word := range im.Words {
		if _, err := fmt.Fprintf(w, "%013x\n", nfp.WithECC(word)); err != nil {
			return err
		}
	}
	return nil
}

// readImage reads an image file, or hex words, one a line.
func readImage(path string, stdin io.Reader) (*nfp.Image, error) {
	data, err := readText(path, stdin)
	if err != nil {
		return nil, err
	}
	im, err := nfp.ReadImage(strings.NewReader(data))
	if err == nil || !isHexWords(data) {
		return im, prefix(path, err)
	}
	im = &nfp.Image{Name: path}
	for n, line := range strings.Split(data, "\n") {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		var u uint64
		if _, err := fmt.Sscanf(line, "%x", &u); err != nil {
			return nil, fmt.Errorf("%s:%d: not a hex word: %q", path, n+1, line)
		}
		w := nfp.Word(u)
		if u>>45 != 0 {
			if w, err = nfp.CheckECC(u); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
			}
		}
		im.Words = append(im.Words, w)
	}
	return im, nil
}

func isHexWords(s string) bool {
	return s != "" && strings.Trim(s, "0123456789abcdefABCDEF \t\r\n") == ""
}

// readText reads a whole file, "-" for standard input.
func readText(path string, stdin io.Reader) (string, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(stdin)
	} else {
		data, err = os.ReadFile(path)
	}
	return string(data), err
}

// prefix puts the place before an error, and before each line of several.
func prefix(place string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := err.(usageError); ok {
		return err
	}
	var list nfp.ErrorList
	if errors.As(err, &list) {
		lines := make([]error, len(list))
		for i, e := range list {
			lines[i] = fmt.Errorf("%s:%w", place, e)
		}
		return errors.Join(lines...)
	}
	var at *maps.PlaceError
	if errors.As(err, &at) {
		return fmt.Errorf("%s:%w", place, at)
	}
	var fault *fs.PathError
	if errors.As(err, &fault) && fault.Path == place {
		return fmt.Errorf("%s: %w", place, fault.Err)
	}
	file := place // without the program that it selects
	if i := strings.LastIndexByte(place, ':'); i > 0 {
		file = place[:i]
	}
	if strings.HasPrefix(err.Error(), place+":") || strings.HasPrefix(err.Error(), file+":") {
		return err // says so itself
	}
	return fmt.Errorf("%s: %w", place, err)
}
