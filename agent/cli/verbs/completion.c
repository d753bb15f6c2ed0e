/*
 * agent/cli/verbs/completion.c - completion SHELL: from the table of verbs, so that it knows them all.
 */
#include <stdio.h>
#include <string.h>

#include "agent/cli/out.h"
#include "agent/cli/verb.h"

static bool is_first_of(const struct verb *v)
{
	size_t n = strcspn(v->name, " ");

	for (const struct verb *o = verbs; o != v; o++)
		if (strncmp(o->name, v->name, n) == 0 && strcspn(o->name, " ") == n)
			return false;
	return true;
}

/* First words of verbs, then the second ones of each that has them, then the options. */
static void put_first_words(void)
{
	for (const struct verb *v = verbs; v->name != NULL; v++)
		if (is_first_of(v))
			out_text("%.*s ", (int)strcspn(v->name, " "), v->name);
}

static void put_options(const struct verb *v)
{
	for (size_t i = 0; i < OPTION_LISTS_MAX && v->lists[i] != NULL; i++)
		for (const struct option *o = v->lists[i]; o->name != NULL; o++)
			out_text("--%s ", o->name);
	out_text("--json --help");
}

/* case patterns of bash and zsh: "the words so far" -> what may follow. */
static void put_cases(void)
{
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		int n = (int)strcspn(v->name, " ");

		if (v->name[n] != '\0' && is_first_of(v)) {
			out_text("\t\"%.*s\") words='", n, v->name);
			for (const struct verb *o = v; o->name != NULL; o++)
				if (strncmp(o->name, v->name, (size_t)n + 1) == 0)
					out_text("%s ", o->name + n + 1);
			out_text("' ;;\n");
		}
	}
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		out_text("\t\"%s\"*) words='", v->name);
		put_options(v);
		out_text("' ;;\n");
	}
}

static void put_bash(void)
{
	out_text("# bash completion of sapair: source it, or put it into bash-completion's folder\n"
		 "_sapair() {\n\tlocal cur=${COMP_WORDS[COMP_CWORD]} words=''\n"
		 "\tlocal so_far=\"${COMP_WORDS[*]:1:COMP_CWORD-1}\"\n"
		 "\tcase $so_far in\n\t'') words='");
	put_first_words();
	out_text("' ;;\n");
	put_cases();
	out_text("\tesac\n"
		 "\tcase $cur in\n\t-*) ;;\n\t*) case $words in --*) words='' ;; esac ;;\n\tesac\n"
		 "\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
		 "}\ncomplete -o default -F _sapair sapair\n");
}

static void put_zsh(void)
{
	out_text("#compdef sapair\n# zsh completion of sapair: as _sapair into a folder of fpath\n"
		 "_sapair() {\n\tlocal list=''\n\tlocal so_far=\"${(j: :)words[2,CURRENT-1]}\"\n"
		 "\tcase $so_far in\n\t'') list='");
	put_first_words();
	out_text("' ;;\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		int n = (int)strcspn(v->name, " ");

		if (v->name[n] == '\0' || !is_first_of(v))
			continue;
		out_text("\t\"%.*s\") list='", n, v->name);
		for (const struct verb *o = v; o->name != NULL; o++)
			if (strncmp(o->name, v->name, (size_t)n + 1) == 0)
				out_text("%s ", o->name + n + 1);
		out_text("' ;;\n");
	}
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		out_text("\t\"%s\"*) list='", v->name);
		put_options(v);
		out_text("' ;;\n");
	}
	out_text("\tesac\n\tif [[ $list == --* && $PREFIX != -* ]]; then _files; "
		 "else compadd -- ${=list}; fi\n}\n_sapair \"$@\"\n");
}

/* In single quotes. */
static void put_quoted(const char *text)
{
	out_text("'");
	for (; *text != '\0'; text++)
		out_text("%s%c", *text == '\'' || *text == '\\' ? "\\" : "", *text);
	out_text("'\n");
}

static void put_fish(void)
{
	out_text("# fish completion of sapair: as sapair.fish into ~/.config/fish/completions\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		int n = (int)strcspn(v->name, " ");

		if (v->name[n] == '\0') {
			out_text("complete -c sapair -n __fish_use_subcommand -a '%s' -d ",
				 v->name);
		} else {
			if (is_first_of(v))
				out_text("complete -c sapair -n __fish_use_subcommand -a '%.*s'\n",
					 n, v->name);
			out_text(
				"complete -c sapair -n '__fish_seen_subcommand_from %.*s' -a '%s' -d ",
				n, v->name, v->name + n + 1);
		}
		put_quoted(v->text);
		for (size_t i = 0; i < OPTION_LISTS_MAX && v->lists[i] != NULL; i++)
			for (const struct option *o = v->lists[i]; o->name != NULL; o++) {
				out_text(
					"complete -c sapair -n '__fish_seen_subcommand_from %.*s' -l "
					"%s%s -d ",
					n, v->name, o->name, o->value != NULL ? " -r" : "");
				put_quoted(o->text);
			}
	}
}

static void put_powershell(void)
{
	out_text("# PowerShell completion of sapair: dot-source it from $PROFILE\n"
		 "Register-ArgumentCompleter -Native -CommandName sapair -ScriptBlock {\n"
		 "\tparam($word, $ast, $at)\n"
		 "\t$table = [ordered]@{\n\t\t'' = '");
	put_first_words();
	out_text("'\n");
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		int n = (int)strcspn(v->name, " ");

		if (v->name[n] == '\0' || !is_first_of(v))
			continue;
		out_text("\t\t'%.*s' = '", n, v->name);
		for (const struct verb *o = v; o->name != NULL; o++)
			if (strncmp(o->name, v->name, (size_t)n + 1) == 0)
				out_text("%s ", o->name + n + 1);
		out_text("'\n");
	}
	for (const struct verb *v = verbs; v->name != NULL; v++) {
		out_text("\t\t'%s' = '", v->name);
		put_options(v);
		out_text("'\n");
	}
	out_text(
		"\t}\n"
		"\t$said = @($ast.CommandElements | Select-Object -Skip 1 | ForEach-Object { \"$_\" } |\n"
		"\t\tWhere-Object { $_ -ne $word })\n"
		"\t$key = @(($said | Select-Object -First 2) -join ' ', ($said | Select-Object -First 1), '') |\n"
		"\t\tWhere-Object { $table.Contains(\"$_\") } | Select-Object -First 1\n"
		"\t$table[\"$key\"].Trim() -split ' ' | Where-Object { $_ -like \"$word*\" }\n}\n");
}

int v_completion(const struct args *a, struct err *e)
{
	static const struct {
		const char *name;
		void (*put)(void);
	} shells[] = {{"bash", put_bash},
		      {"zsh", put_zsh},
		      {"fish", put_fish},
		      {"powershell", put_powershell}};
	const char *name = args_word(a, 0);

	if (a->json)
		return err_set(e, ERR_USAGE, "completion: a script for a shell has no JSON form");
	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++) {
		if (strcmp(shells[i].name, name) != 0)
			continue;
		shells[i].put();
		return 0;
	}
	return err_set(e, ERR_USAGE, "no shell \"%s\": bash, zsh, fish or powershell", name);
}
