/** Whose appliance a containment test starts: root's and an ordinary user's where the test may choose, its own otherwise. */

export const isRoot = process.getuid?.() === 0;

export const users: readonly { readonly name: string; readonly uid: number | undefined }[] = isRoot
  ? [
      { name: "root", uid: undefined },
      { name: "an ordinary user", uid: 54_321 },
    ]
  : [{ name: "this user", uid: undefined }];
