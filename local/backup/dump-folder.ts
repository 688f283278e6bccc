// What a backup of the stack of Compose consists of: a dump in PostgreSQL's custom format, and its list.
import { z } from 'zod';
import { contentsFileName, file, format, parsed, readList, verifyFile } from './backup-folder.ts';

export const dumpFileName = 'promopulse.dump';

const dumpSchema = z.object({
  format: z.literal(format),
  kind: z.literal('dump'),
  created_at: z.iso.datetime(),
  file: file.extend({ path: z.literal(dumpFileName) }),
});

export interface Dump {
  folder: string;
  contents: z.infer<typeof dumpSchema>;
}

/** Compares the dump with its checksum. @throws BackupError when it is not complete, damaged, or of `npm start` */
export async function readDump(folder: string): Promise<Dump> {
  const contents = parsed(dumpSchema, readList(folder, contentsFileName), folder);
  await verifyFile({ folder }, contents.file);
  return { folder, contents };
}
