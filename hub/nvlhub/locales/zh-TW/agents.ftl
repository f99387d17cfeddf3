cluster-wrong-gpus = 機器給了 { $gpus } 個 GPU 的租約 { $given } 個 GPU，因此沒有啟動 worker，租約已歸還。
    請再試一次；若再發生，請告知管理員：節點的設定可能缺少 GPU。
