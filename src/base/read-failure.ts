// Why something cannot be read, in words, for messages to people. What cannot be written: atomic-file.ts.

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file', EACCES: 'permission denied', EPERM: 'not permitted',
  ENOTDIR: 'a part of the path is not a folder', ELOOP: 'its symbolic links lead in a circle',
  EAGAIN: 'it has nothing to read yet', EIO: 'the disk reports an error', ENAMETOOLONG: 'the name is too long',
  EISDIR: 'it is a directory',
}

/** The reason behind an error of node:fs; its own message when that says more. */
export function readFailure(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException
  return (code !== undefined && REASONS[code]) || message
}
